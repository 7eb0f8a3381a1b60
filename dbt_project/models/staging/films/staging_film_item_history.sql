-- The film's earlier ratings, as known before each rating.
{{ known_totals(
    questions=ref('staging_film_ratings'),
    answers=ref('staging_film_ratings'),
    by=['tenant', 'item_id'],
    measures=['interactions', 'hundredths'],
) }}
