{{ config(location="{{ env_var('ASSAY_HOME') }}/features/recommendation/films.parquet") }}
-- A row per rating: what was known before it was given, and whether the person liked the film.
with last_ratings as (
    select
        ratings.event_no,
        earlier.known_at
    from {{ ref('staging_film_ratings') }} as ratings
    asof left join {{ ref('staging_film_ratings') }} as earlier
        on
            ratings.tenant = earlier.tenant
            and ratings.user_id = earlier.user_id
            and ratings.event_time > earlier.known_at
)

select
    ratings.event_id,
    ratings.tenant,
    ratings.event_time,
    ratings.known_at as known_time,
    cast(ratings.rating >= 4 as integer) as label,
    true as judged,
    user_history.interactions < 5 as slice_cold,
    user_history.interactions between 5 and 19 as slice_warm,
    user_history.interactions >= 20 as slice_heavy,
    ratings.user_id as "user",
    ratings.item_id as item,
    ratings.rating as strength,
    user_history.interactions as user_past_interactions,
    item_history.interactions as item_past_interactions,
    user_history.hundredths / nullif(user_history.interactions, 0) / 100 as user_mean_strength_past,
    item_history.hundredths / nullif(item_history.interactions, 0) / 100 as item_mean_strength_past,
    (epoch_us(ratings.event_time) - epoch_us(last_ratings.known_at)) / 3.6e9 as user_hours_since_last
from {{ ref('staging_film_ratings') }} as ratings
inner join {{ ref('staging_film_user_history') }} as user_history
    on ratings.event_no = user_history.event_no
inner join {{ ref('staging_film_item_history') }} as item_history
    on ratings.event_no = item_history.event_no
inner join last_ratings on ratings.event_no = last_ratings.event_no
order by ratings.event_no
