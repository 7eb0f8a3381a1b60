{{ config(location="{{ env_var('ASSAY_HOME') }}/features/recommendation/films_items.parquet") }}
-- The catalogue: every film that can be recommended, with its texts.
select
    item_id as item,
    tenant,
    title,
    description,
    tags,
    category,
    known_at as known_time
from {{ ref('staging_film_items') }}
order by tenant, item_id
