{# This condition holds on every row; a failing row is a row on which it does not. #}
{% test holds(model, condition) %}
    select *
    from {{ model }}
    where ({{ condition }}) is not true
{% endtest %}
