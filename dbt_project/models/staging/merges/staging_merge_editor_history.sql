-- Earlier merges of every editor on either side, as known before each merge, over its editors.
with questions as (
    select event_no, tenant, event_time, unnest(list_distinct(editor_ids)) as editor_id
    from {{ ref('staging_merge_events') }}
),

answers as (
    select tenant, known_at, merges, conflicts, unnest(list_distinct(editor_ids)) as editor_id
    from {{ ref('staging_merge_outcomes') }}
),

totals as (
    {{ known_totals('questions', 'answers', ['tenant', 'editor_id'], ['merges', 'conflicts']) }}
)

select
    event_no,
    cast(avg({{ smoothed_rate('conflicts', 'merges') }}) as double) as conflict_rate_mean,
    cast(max({{ smoothed_rate('conflicts', 'merges') }}) as double) as conflict_rate_max
from totals
group by event_no
