{{ config(location="{{ env_var('ASSAY_HOME') }}/traffic/orphans.parquet") }}
-- Outcome reports that speak of no prediction in the log.
select *
from {{ ref('traffic_outcome_log') }}
where outcome_id not in (select outcome_id from {{ ref('traffic_outcome_matches') }})
order by product, received_at, outcome_id
