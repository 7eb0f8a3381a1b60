{#
  `counter` is the number of `events` with the same key whose outcome was first known strictly
  before the row's event_time. Counted a second way (an as-of join), so that a mistake in the
  running sums of `known_totals` shows.
#}
{% test counts_only_the_past(model, counter, events, by) %}
    with known as (
        select distinct
            {{ by | join(', ') }},
            first_known_at,
            count(*) over (partition by {{ by | join(', ') }} order by first_known_at) as known
        from {{ events }}
    ),

    counted as (
        select rows.event_id, rows.{{ counter }}, coalesce(known.known, 0) as known
        from (
            select model.event_id, model.event_time, model.{{ counter }}
                {%- for key in by %}, events.{{ key }}{% endfor %}
            from {{ model }} as model
            inner join {{ events }} as events on model.event_id = events.event_id
        ) as rows
        asof left join known
            on
                rows.event_time > known.first_known_at
                {%- for key in by %}
                and rows.{{ key }} = known.{{ key }}
                {%- endfor %}
    )

    select * from counted where {{ counter }} != known
{% endtest %}
