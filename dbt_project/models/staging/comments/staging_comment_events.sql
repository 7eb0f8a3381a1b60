-- What was written comes from the first version, what people said of it from the newest.
{% set labels = [
    'toxicity', 'severe_toxicity', 'obscene', 'threat', 'insult', 'identity_hate',
    'hate', 'offensive', 'irony', 'negative_sentiment'
] %}
with versions as (
    select
        event_id,
        min(known_at) as first_known_at,
        max(known_at) as known_time
    from {{ ref('staging_comments') }}
    group by event_id
),

newest as (
    select comments.*
    from {{ ref('staging_comments') }} as comments
    inner join versions
        on
            comments.event_id = versions.event_id
            and comments.known_at = versions.known_time
)

select
    comments.event_id,
    lower(trim(regexp_replace(nfc_normalize(comments.text), '\s+', ' ', 'g'))) as same_text,
    comments.event_time,
    versions.first_known_at,
    versions.known_time,
    comments.part,
    case when newest.text = comments.text then newest.rationale end as rationale,
    {%- for label in labels %}
    cast(newest.{{ label }} as integer) as label_{{ label }},
    {%- endfor %}
    cast(
        {%- for label in labels %}
        (newest.{{ label }} is not null)::integer{{ ' +' if not loop.last }}
        {%- endfor %}
        as bigint
    ) as labels_known
from {{ ref('staging_comments') }} as comments
inner join versions
    on
        comments.event_id = versions.event_id
        and comments.known_at = versions.first_known_at
inner join newest on comments.event_id = newest.event_id
