{{ config(location="{{ env_var('ASSAY_HOME') }}/traffic/predictions.parquet") }}
{% set after_hours = env_var('ASSAY_OUTCOME_AFTER_HOURS', '24') %}
{% set within_days = env_var('ASSAY_OUTCOME_WITHIN_DAYS', '30') %}
-- The point-in-time join: every prediction of traffic with what is known of it. "Now" is the newest
-- moment in the logs, so the same logs always give the same table.
with newest as (
    select greatest(
        (select max(answered_at) from {{ ref('traffic_prediction_log') }}),
        (select max(received_at) from {{ ref('traffic_outcome_log') }})
    ) as as_of
),

outcomes as (
    select
        of_prediction_id as prediction_id,
        known_at >= event_time
        and known_at <= event_time + to_microseconds(cast({{ within_days }} * 86400e6 as bigint))
        -- a dropped file may announce what nobody can know yet: it counts once that time has come
        and known_at <= newest.as_of
            as usable,
        label,
        known_at,
        received_at,
        outcome_id
    from {{ ref('traffic_outcome_matches') }}
    cross join newest
    where purpose = 'traffic'
),

judged as (
    select
        prediction_id,
        count(*) as outcome_reports,
        coalesce(min(label) filter (usable) != max(label) filter (usable), false) as contradicted,
        -- the latest known_at counts, of equal ones the one received last
        max(row(known_at, received_at, outcome_id, label)) filter (usable) as final
    from outcomes
    group by prediction_id
),

stated as (
    select
        log.* exclude (purpose),
        judged.final,
        coalesce(judged.outcome_reports, 0) as outcome_reports,
        coalesce(judged.contradicted, false) as contradicted,
        case
            when epoch_us(newest.as_of) - epoch_us(log.event_time) < {{ after_hours }} * 3600e6
                then 'waiting'
            when judged.final is not null then 'known'
            when epoch_us(newest.as_of) - epoch_us(log.event_time) > {{ within_days }} * 86400e6
                then 'expired'
            else 'open'
        end as outcome_state
    from {{ ref('traffic_prediction_log') }} as log
    cross join newest
    left join judged on log.prediction_id = judged.prediction_id
    where log.purpose = 'traffic'
)

select
    prediction_id,
    request_id,
    product,
    tenant,
    model_version,
    event_id,
    event_time,
    answered_at,
    score,
    inputs,
    inputs_hash,
    latency_ms,
    "rows",
    -- early outcomes are not a fair sample of all: none is shown before it may be judged
    case when outcome_state = 'known' then final[4] end as label,
    case when outcome_state = 'known' then final[1] end as outcome_known_at,
    outcome_reports,
    contradicted,
    outcome_state
from stated
order by product, event_time, prediction_id
