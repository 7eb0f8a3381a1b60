-- The first version of an outcome adds a merge; a correction adds only what it changes.
select
    events.event_no,
    events.tenant,
    events.merger_id,
    events.editor_ids,
    events.overlap_file_ids,
    versions.known_at,
    cast(versions.known_at = events.first_known_at as integer) as merges,
    cast(versions.conflict as integer) - coalesce(
        lag(cast(versions.conflict as integer))
            over (partition by events.event_no order by versions.known_at),
        0
    ) as conflicts
from {{ ref('staging_merges') }} as versions
inner join {{ ref('staging_merge_events') }} as events on versions.event_id = events.event_id
