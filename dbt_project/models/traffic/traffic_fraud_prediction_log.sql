{{ config(materialized='view') }}
-- The prediction log of the fraud products, under the name that its readers ask for.
select *
from {{ ref('traffic_prediction_log') }}
where product like '%fraud%'
