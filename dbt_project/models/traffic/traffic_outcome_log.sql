-- Every outcome report once, as first received. Reports that contradict each other all stay.
select *
from {{ source('log', 'outcomes') }}
qualify row_number() over (partition by outcome_id order by received_at, known_at) = 1
