{{ config(location="{{ env_var('ASSAY_HOME') }}/traffic/refusals.parquet") }}
-- Every request that was not answered 2xx, once.
select distinct *
from {{ source('log', 'refusals') }}
order by product, answered_at, request_id, path, status, latency_ms
