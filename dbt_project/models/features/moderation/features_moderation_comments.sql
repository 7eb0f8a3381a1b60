{{ config(location="{{ env_var('ASSAY_HOME') }}/features/moderation/comments.parquet") }}
-- A row per different text: what people said of it, and the numbers that describe it.
-- Of the copies of a text in several sets one stays, so that no text teaches and judges: a holdout
-- copy before a training copy before one without a part; among these the one with most labels known,
-- then the earliest.
with copies as (
    select
        *,
        row_number() over (
            partition by same_text
            order by
                part = 'holdout' desc nulls last,
                part is not null desc,
                labels_known desc,
                event_time,
                event_id
        ) as copy
    from {{ ref('staging_comment_events') }}
)

select
    copies.event_id,
    comments.tenant,
    copies.event_time,
    copies.known_time,
    coalesce(copies.label_toxicity, copies.label_hate, copies.label_offensive, 0) as label,
    coalesce(copies.label_toxicity, copies.label_hate, copies.label_offensive) is not null as judged,
    copies.part,
    comments.text,
    comments.context,
    copies.rationale,
    comments.source,
    comments.language,
    copies.label_toxicity,
    copies.label_severe_toxicity,
    copies.label_obscene,
    copies.label_threat,
    copies.label_insult,
    copies.label_identity_hate,
    copies.label_hate,
    copies.label_offensive,
    copies.label_irony,
    copies.label_negative_sentiment,
    comments.source = 'tweeteval_hate' as slice_tweeteval_hate,
    comments.source = 'tweeteval_offensive' as slice_tweeteval_offensive,
    comments.source = 'hatexplain' as slice_hatexplain,
    comments.source = 'civil_comments' as slice_civil_comments,
    comments.source = 'jigsaw_binary' as slice_jigsaw_binary,
    len(comments.identities) > 0 as slice_identity,
    list_contains(comments.identities, 'women') as slice_identity_women,
    list_contains(comments.identities, 'black') as slice_identity_black,
    list_contains(comments.identities, 'white') as slice_identity_white,
    list_contains(comments.identities, 'muslim') as slice_identity_muslim,
    list_contains(comments.identities, 'jewish') as slice_identity_jewish,
    list_contains(comments.identities, 'lgbt') as slice_identity_lgbt,
    list_contains(comments.identities, 'migrants') as slice_identity_migrants,
    comments.words <= 5 as slice_short,
    coalesce(comments.counter_speech, false) as slice_counter_speech,
    comments.language = 'es' as slice_language_es,
    comments.language = 'fr' as slice_language_fr,
    comments.language = 'it' as slice_language_it,
    comments.language = 'pt' as slice_language_pt,
    comments.language = 'ru' as slice_language_ru,
    comments.language = 'tr' as slice_language_tr,
    comments.characters,
    comments.words,
    comments.mean_word_length,
    comments.distinct_word_share,
    comments.capital_share,
    comments.non_ascii_share,
    comments.digit_share,
    comments.symbol_share,
    comments.links,
    comments.mentions,
    comments.hashtags,
    comments.exclamations,
    comments.questions,
    comments.longest_run,
    comments.mixed_words
from copies
inner join {{ ref('staging_comments') }} as comments
    on copies.event_id = comments.event_id and copies.first_known_at = comments.known_at
where copies.copy = 1
order by copies.event_time, copies.event_id
