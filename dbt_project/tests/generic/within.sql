{# These columns lie in [minimum, maximum]; nulls pass. A failing row names the column. #}
{% test within(model, columns, minimum=none, maximum=none) %}
    select column_name, outside
    from (
        unpivot (
            select
                {%- for column in columns %}
                count_if(
                    false
                    {%- if minimum is not none %} or {{ column }} < {{ minimum }}{% endif %}
                    {%- if maximum is not none %} or {{ column }} > {{ maximum }}{% endif %}
                ) as {{ column }}{{ ',' if not loop.last }}
                {%- endfor %}
            from {{ model }}
        )
        on columns(*) into name column_name value outside
    )
    where outside > 0
{% endtest %}
