-- The newest version of every film's texts.
select distinct item_id, tenant, title, description, tags, category, known_at
from {{ source('raw', 'film_items') }}
qualify known_at = max(known_at) over (partition by tenant, item_id)
