{#
  `counter` is the number of `events` with the same key whose outcome was first known (column
  `known`) strictly before the row's event_time. Counted a second way (rows and outcomes on one
  timeline, a row before the outcomes of its own moment), so that a mistake in `known_totals` shows.
#}
{% test counts_only_the_past(model, counter, events, by, known='first_known_at') %}
    with timeline as (
        select
            {{ by | join(', ') }}, event_id, event_time as moment, 0 as is_outcome
        from {{ events }}
        union all
        select
            {{ by | join(', ') }}, event_id, {{ known }}, 1
        from {{ events }}
    ),

    counted as (
        select
            event_id,
            is_outcome,
            count(*) filter (is_outcome = 1) over (
                partition by {{ by | join(', ') }}
                order by moment, is_outcome
                rows between unbounded preceding and current row
            ) as known
        from timeline
    )

    select model.event_id, model.{{ counter }}, counted.known
    from {{ model }} as model
    inner join counted on model.event_id = counted.event_id
    where counted.is_outcome = 0 and model.{{ counter }} != counted.known
{% endtest %}
