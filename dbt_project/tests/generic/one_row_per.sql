{# As many rows as `of` has distinct values of `column`, and at least one. #}
{% test one_row_per(model, of, column) %}
    select found.n as rows_found, expected.n as rows_expected
    from (select count(*) as n from {{ model }}) as found,
        (select count(distinct {{ column }}) as n from {{ of }}) as expected
    where found.n != expected.n or found.n = 0
{% endtest %}
