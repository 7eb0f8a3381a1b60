{# As many rows as `of` has distinct values of `column` where the condition holds; none is fine. #}
{% test as_many_as(model, of, column, condition) %}
    select found.n as rows_found, expected.n as rows_expected
    from (select count(*) as n from {{ model }}) as found,
        (select count(distinct {{ column }}) as n from {{ of }} where {{ condition }}) as expected
    where found.n != expected.n
{% endtest %}
