-- What was asked comes from the first version, what came of it from the newest.
with versions as (
    select
        event_id,
        min(known_at) as first_known_at,
        max(known_at) as known_time,
        arg_max(conflict, known_at) as conflict
    from {{ ref('staging_merges') }}
    group by event_id
)

select
    row_number() over (order by merges.event_time, merges.event_id) as event_no,
    merges.event_id,
    merges.tenant,
    merges.event_time,
    merges.merger_id,
    merges.editor_ids,
    merges.overlap_file_ids,
    versions.first_known_at,
    versions.known_time,
    cast(versions.conflict as integer) as label
from {{ ref('staging_merges') }} as merges
inner join versions
    on
        merges.event_id = versions.event_id
        and merges.known_at = versions.first_known_at
