-- The merging person's earlier merges, as known before each merge.
{{ known_totals(
    questions=ref('staging_merge_events'),
    answers=ref('staging_merge_outcomes'),
    by=['tenant', 'merger_id'],
    measures=['merges', 'conflicts'],
) }}
