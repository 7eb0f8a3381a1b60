-- Every rating once, however often it was delivered, numbered in time order.
with ratings as (
    select distinct event_id, tenant, user_id, item_id, rating, event_time, known_at
    from {{ source('raw', 'film_ratings') }}
)

select
    row_number() over (order by event_time, event_id) as event_no,
    event_id,
    tenant,
    user_id,
    item_id,
    rating,
    event_time,
    known_at,
    1 as interactions,
    cast(round(rating * 100) as bigint) as hundredths
from ratings
