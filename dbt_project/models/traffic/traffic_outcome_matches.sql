{{ config(materialized='view') }}
-- Each outcome report with each prediction that it speaks of, by either id, within one product. The
-- same event may have been scored more than once: its outcome is that of every one of them. A report
-- that names a tenant speaks of that tenant's predictions only, whatever id it gives.
select
    outcomes.*,
    predictions.prediction_id as of_prediction_id,
    predictions.event_time,
    predictions.purpose
from {{ ref('traffic_outcome_log') }} as outcomes
inner join {{ ref('traffic_prediction_log') }} as predictions
    on
        outcomes.prediction_id = predictions.prediction_id
        and outcomes.product = predictions.product
        and (outcomes.tenant is null or outcomes.tenant = predictions.tenant)
union all
select
    outcomes.*,
    predictions.prediction_id as of_prediction_id,
    predictions.event_time,
    predictions.purpose
from {{ ref('traffic_outcome_log') }} as outcomes
inner join {{ ref('traffic_prediction_log') }} as predictions
    on
        outcomes.event_id = predictions.event_id
        and outcomes.product = predictions.product
        and (outcomes.tenant is null or outcomes.tenant = predictions.tenant)
