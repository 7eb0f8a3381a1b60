{#
  Conflict rate drawn towards one in ten while little is known: (conflicts + 0.5) / (merges + 5).
  A decimal, because sums of decimals do not depend on the order of the rows: the same input gives
  the same file, byte for byte.
#}
{% macro smoothed_rate(conflicts, merges) %}
    cast(({{ conflicts }} + 0.5) / ({{ merges }} + 5) as decimal(18, 15))
{% endmacro %}
