{#
  What was known before each question: sums over the answers to its key with `known_at` strictly
  before its `event_time`.

  Questions and answers are laid on one timeline per key, a question before the answers of its own
  moment; a running sum then gives each question exactly what was known before it. One sort, no
  join, and it spills: memory does not grow with the rows.

  Arguments
    questions: relation with `event_no`, `event_time` and the key columns.
    answers: relation with `known_at`, the key columns and the measures; a correction is a
      further answer that carries only the difference.
    by: the key columns.
    measures: integer columns of `answers` to sum.
  Gives `event_no`, the key columns and the measures (0 when nothing was known), a row per question.
#}
{% macro known_totals(questions, answers, by, measures) %}
    select
        event_no,
        {{ by | join(', ') }}
        {%- for measure in measures %},
        cast({{ measure }} as bigint) as {{ measure }}
        {%- endfor %}
    from (
        select
            event_no,
            {{ by | join(', ') }}
            {%- for measure in measures %},
            sum({{ measure }}) over known as {{ measure }}
            {%- endfor %}
        from (
            select
                event_no,
                {{ by | join(', ') }},
                event_time as moment,
                0 as is_answer
                {%- for measure in measures %},
                0 as {{ measure }}
                {%- endfor %}
            from {{ questions }}
            union all
            select
                null,
                {{ by | join(', ') }},
                known_at,
                1
                {%- for measure in measures %},
                {{ measure }}
                {%- endfor %}
            from {{ answers }}
        )
        window known as (
            partition by {{ by | join(', ') }}
            order by moment, is_answer
            rows between unbounded preceding and current row
        )
    )
    where event_no is not null
{% endmacro %}
