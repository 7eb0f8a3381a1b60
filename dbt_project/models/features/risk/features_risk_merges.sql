{{ config(location="{{ env_var('ASSAY_HOME') }}/features/risk/merges.parquet") }}
-- A row per merge: what was known before it was asked for, and what came of it.
{% set no_editor_history = smoothed_rate(0, 0) %}
select
    events.event_id,
    events.tenant,
    events.event_time,
    events.known_time,
    events.label,
    not merges.via_button as judged,
    not merges.via_button and merges.files_overlap > 0 as slice_hard,
    -- whose row it is, as requests name them (gateway/aliases.py): looked up by, never learned from
    cast(events.merger_id as varchar) as "user",
    list_transform(events.overlap_file_ids, lambda id : 'file:' || id) as entity,
    merges.concurrent_editors,
    (epoch_us(events.event_time) - epoch_us(merges.base_time)) / 3.6e9 as hours_since_last_sync,
    user_history.conflicts / nullif(user_history.merges, 0) as user_conflict_rate,
    merges.entity_edit_frequency,
    coalesce(
        merges.files_overlap
        / nullif(merges.files_ours + merges.files_theirs - merges.files_overlap, 0),
        0
    ) as field_overlap_score,
    user_history.merges as user_past_merges,
    user_history.conflicts as user_past_conflicts,
    tenant_history.merges as tenant_past_merges,
    tenant_history.recent_conflicts
    / nullif(tenant_history.recent_merges, 0) as tenant_recent_conflict_rate,
    case
        when events.editor_ids is null then merges.reported_editors_conflict_rate_mean
        else coalesce(editor_history.conflict_rate_mean, {{ no_editor_history }})
    end as editors_conflict_rate_mean,
    case
        when events.editor_ids is null then merges.reported_editors_conflict_rate_max
        else coalesce(editor_history.conflict_rate_max, {{ no_editor_history }})
    end as editors_conflict_rate_max,
    case
        when events.overlap_file_ids is null then merges.reported_overlap_past_conflicts_sum
        else coalesce(file_history.conflicts_sum, 0)
    end as overlap_past_conflicts_sum,
    case
        when events.overlap_file_ids is null then merges.reported_overlap_past_conflicts_max
        else coalesce(file_history.conflicts_max, 0)
    end as overlap_past_conflicts_max,
    merges.editors_ours,
    merges.editors_theirs,
    merges.editors_both_sides,
    merges.commits_ours,
    merges.commits_theirs,
    merges.files_ours,
    merges.files_theirs,
    merges.files_overlap,
    coalesce(merges.files_overlap / nullif(merges.files_theirs, 0), 0) as overlap_share_theirs,
    merges.directory_overlap_score,
    merges.hours_since_tip_ours,
    merges.hours_since_tip_theirs,
    merges.merge_bases,
    merges.overlap_edits_sum,
    merges.overlap_edits_max,
    merges.theirs_edit_frequency,
    cast(merges.lines_overlap_ours as bigint) as lines_overlap_ours,
    cast(merges.lines_overlap_theirs as bigint) as lines_overlap_theirs
from {{ ref('staging_merge_events') }} as events
inner join {{ ref('staging_merges') }} as merges
    on events.event_id = merges.event_id and events.first_known_at = merges.known_at
inner join {{ ref('staging_merge_user_history') }} as user_history
    on events.event_no = user_history.event_no
inner join {{ ref('staging_merge_tenant_history') }} as tenant_history
    on events.event_no = tenant_history.event_no
left join {{ ref('staging_merge_editor_history') }} as editor_history
    on events.event_no = editor_history.event_no
left join {{ ref('staging_merge_file_history') }} as file_history
    on events.event_no = file_history.event_no
order by events.event_no
