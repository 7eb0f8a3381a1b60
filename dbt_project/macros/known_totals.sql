{#
  What was known before each question: sums over the answers to its key with `known_at` strictly
  before its `event_time`.

  Arguments
    questions: relation with `event_no`, `event_time` and the key columns.
    answers: relation with `known_at`, the key columns and the measures; a correction is a
      further answer that carries only the difference.
    by: the key columns.
    measures: integer columns of `answers` to sum.
  Gives `event_no`, the key columns and the measures (0 when nothing was known), a row per question.

  The window's default frame ends with the last answer of the same moment, so answers known together
  carry one total and it does not matter which of them the join meets. Both the window and the join
  sort and spill: memory does not grow with the rows.
#}
{% macro known_totals(questions, answers, by, measures) %}
    select
        questions.event_no
        {%- for key in by %},
        questions.{{ key }}
        {%- endfor %}
        {%- for measure in measures %},
        coalesce(cast(totals.{{ measure }} as bigint), 0) as {{ measure }}
        {%- endfor %}
    from {{ questions }} as questions
    asof left join (
        select
            {{ by | join(', ') }},
            known_at
            {%- for measure in measures %},
            -- doubles add whole numbers exactly, and faster than sum's 128-bit integers
            sum(cast({{ measure }} as double)) over known as {{ measure }}
            {%- endfor %}
        from {{ answers }}
        window known as (partition by {{ by | join(', ') }} order by known_at)
    ) as totals
        on
            questions.event_time > totals.known_at
            {%- for key in by %}
            and questions.{{ key }} = totals.{{ key }}
            {%- endfor %}
{% endmacro %}
