{# No nulls in these columns; a failing row names the column and counts its nulls. #}
{% test complete(model, columns) %}
    select column_name, nulls
    from (
        unpivot (
            select
                {%- for column in columns %}
                count(*) - count({{ column }}) as {{ column }}{{ ',' if not loop.last }}
                {%- endfor %}
            from {{ model }}
        )
        on columns(*) into name column_name value nulls
    )
    where nulls > 0
{% endtest %}
