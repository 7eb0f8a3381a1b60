{% set recent = var('recent_outcomes', 200) %}
-- The tenant's earlier merges, all and the last {{ recent }}, as known before each merge. An outcome
-- leaves the recent ones when {{ recent }} later outcomes have become known; ties are ordered by
-- event_no.
with firsts as (
    select
        event_no,
        tenant,
        known_at,
        conflicts,
        lead(known_at, {{ recent }})
            over (partition by tenant order by known_at, event_no) as leaves_at
    from {{ ref('staging_merge_outcomes') }}
    where merges = 1
),

changes as (
    select
        tenant,
        known_at,
        leaves_at,
        conflicts,
        1 as merges,
        1 as recent_merges,
        conflicts as recent_conflicts
    from firsts
    union all
    select
        later.tenant,
        later.known_at,
        firsts.leaves_at,
        later.conflicts,
        0 as merges,
        0 as recent_merges,
        -- a correction of an outcome that has left changes nothing recent
        if(later.known_at >= firsts.leaves_at, 0, later.conflicts) as recent_conflicts
    from {{ ref('staging_merge_outcomes') }} as later
    inner join firsts on later.event_no = firsts.event_no
    where later.merges = 0
),

answers as (
    select tenant, known_at, merges, conflicts, recent_merges, recent_conflicts
    from changes
    union all
    select tenant, leaves_at, 0, 0, -recent_merges, -recent_conflicts
    from changes
    where leaves_at is not null
)

{{ known_totals(
    questions=ref('staging_merge_events'),
    answers='answers',
    by=['tenant'],
    measures=['merges', 'conflicts', 'recent_merges', 'recent_conflicts'],
) }}
