-- Every version of every text once, however often it was delivered. What landed before rationales were
-- read has no such column.
with landed as (
    select cast(null as varchar) as rationale
    where false
    union all by name
    select * from {{ source('raw', 'comments') }}
)

select distinct
    event_id,
    tenant,
    event_time,
    known_at,
    text,
    source,
    language,
    identities,
    characters,
    words,
    mean_word_length,
    distinct_word_share,
    capital_share,
    non_ascii_share,
    digit_share,
    symbol_share,
    links,
    mentions,
    hashtags,
    exclamations,
    questions,
    longest_run,
    mixed_words,
    context,
    rationale,
    part,
    counter_speech,
    toxicity,
    severe_toxicity,
    obscene,
    threat,
    insult,
    identity_hate,
    hate,
    offensive,
    irony,
    negative_sentiment
from landed
