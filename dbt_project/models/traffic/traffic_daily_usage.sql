{{ config(location="{{ env_var('ASSAY_HOME') }}/traffic/daily_usage.parquet") }}
-- A row per product, day (UTC) and release: how much it was used, how fast it was, how often it
-- failed. Latency is that of requests: their rows share it. Means are over decimals, whose sums do not
-- depend on the order of the rows: the same log gives the same file.
with predictions as (
    select
        product,
        cast(answered_at as date) as day,
        model_version,
        count(*) as predictions,
        avg(cast(score as decimal(18, 15))) as score_mean,
        count(label) as outcomes
    from {{ ref('traffic_predictions') }}
    group by all
),

answered as (
    select distinct on (request_id)
        product,
        cast(answered_at as date) as day,
        model_version,
        latency_ms
    from {{ ref('traffic_predictions') }}
    order by request_id, answered_at
),

requests as (
    select
        product,
        day,
        model_version,
        count(*) as requests,
        avg(cast(latency_ms as decimal(18, 6))) as latency_mean_ms,
        quantile_cont(latency_ms, 0.5) as latency_p50_ms,
        quantile_cont(latency_ms, 0.95) as latency_p95_ms,
        quantile_cont(latency_ms, 0.99) as latency_p99_ms
    from answered
    group by all
),

refused as (
    select
        product,
        cast(answered_at as date) as day,
        model_version,
        cast(count_if(status >= 500) as bigint) as errors,
        cast(count_if(status < 500) as bigint) as refusals
    from {{ ref('traffic_refusals') }}
    where path = '/predict'
    group by all
)

select
    product,
    day,
    model_version,
    coalesce(predictions.predictions, 0) as predictions,
    coalesce(requests.requests, 0) as requests,
    coalesce(
        predictions.predictions / sum(predictions.predictions) over (partition by product, day), 0
    ) as share,
    requests.latency_mean_ms,
    requests.latency_p50_ms,
    requests.latency_p95_ms,
    requests.latency_p99_ms,
    coalesce(refused.errors, 0) as errors,
    coalesce(refused.refusals, 0) as refusals,
    predictions.score_mean,
    coalesce(predictions.outcomes, 0) as outcomes
from predictions
full join requests using (product, day, model_version)
full join refused using (product, day, model_version)
order by product, day, model_version
