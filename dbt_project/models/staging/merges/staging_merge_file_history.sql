-- Earlier conflicts in every overlapping file, as known before each merge, over its files.
with questions as (
    select event_no, tenant, event_time, unnest(list_distinct(overlap_file_ids)) as file_id
    from {{ ref('staging_merge_events') }}
),

answers as (
    select tenant, known_at, conflicts, unnest(list_distinct(overlap_file_ids)) as file_id
    from {{ ref('staging_merge_outcomes') }}
    where conflicts != 0
),

totals as (
    {{ known_totals('questions', 'answers', ['tenant', 'file_id'], ['conflicts']) }}
)

select
    event_no,
    cast(sum(conflicts) as bigint) as conflicts_sum,
    max(conflicts) as conflicts_max
from totals
group by event_no
