-- Every answered row once, golden ones too. A part may bring a row a second time (a merge of parts
-- that was cut short); only those few are sorted, the log itself streams through.
with copies as (
    select prediction_id
    from {{ source('log', 'predictions') }}
    group by prediction_id
    having count(*) > 1
)

select *
from {{ source('log', 'predictions') }}
where prediction_id not in (select prediction_id from copies)
union all
select *
from {{ source('log', 'predictions') }}
where prediction_id in (select prediction_id from copies)
qualify row_number() over (partition by prediction_id order by answered_at, request_id) = 1
