"""Films that people rated: one row per rating, with who, what, how many stars, and when.

A rating of 4 or more says that the person liked the film. `known_at` is when the rating arrived.
A person who rates a film again makes a new row with an `event_id` of its own.

From the mirror or from its owner: MovieLens 100K (F. M. Harper and J. A. Konstan, The MovieLens
Datasets: History and Context, 2015): 100,000 ratings by 943 people of 1,682 films, 1997-98. Its
licence allows research use with acknowledgement and NO redistribution without permission, and no
commercial use: the rows stay in your own home and are never part of this repository. From the
generator: a seeded world with tastes, fashions and film series (`films_generator`).

This module holds the schemas and the reading of both layouts. It fetches nothing and keeps nothing.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

CATALOGUE = """The films that can be recommended: one row per film and version of its texts.

A change of a film's texts is a new row with a later `known_at`. MovieLens knows title, release and
genres, and not when a film entered its catalogue: all are taken as known when it starts. Licence
and origins are those of `raw/film_ratings`.
"""
TENANT = "films"
RATINGS_FILE = "movielens_100k/ratings.parquet"
RATINGS_SHA256 = "cb503bff5927b1b6ca50b2e3aa8ede044b82410415ae8cb3a3f3ee55b7f2a68b"
ITEMS_FILE = "movielens_100k/items.parquet"
ITEMS_SHA256 = "9b2f4361fff8678d40d0dcd3b3f91155209b00f53d0b476bec03739c80ad8bb3"
#: What the owner offers; frozen since 1998.
PUBLIC_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
PUBLIC_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
#: When the collection of MovieLens 100K began (its README), before its first rating.
COLLECTION_BEGAN = "1997-09-19"

#: The flags of ``u.item``, in its order, by the mirror's names.
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "FilmNoir", "Horror", "Musical", "Mystery", "Romance", "SciFi", "Thriller",
    "War", "Western",
)  # fmt: skip

_RATINGS = f"""
    select
        '{TENANT}@' || "user" || '-' || item || '-' || ts as event_id,
        '{TENANT}' as tenant,
        cast("user" as varchar) as user_id,
        cast(item as varchar) as item_id,
        cast(rating as double) as rating,
        make_timestamp(cast(ts as bigint) * 1000000) as event_time,
        make_timestamp(cast(ts as bigint) * 1000000) as known_at -- a rating is known when given
    from given
    order by ts, "user", item
"""  # noqa: S608 the names are ours
_ITEMS = f"""
    select
        cast(item as varchar) as item_id,
        '{TENANT}' as tenant,
        title,
        '' as description,
        replace(genres, '|', ' ') as tags,
        split_part(genres, '|', 1) as category,
        timestamp '{COLLECTION_BEGAN}' as known_at
    from given
    order by item
"""  # noqa: S608 the names are ours


@cache
def ratings_schema() -> pa.Schema:
    """Schema of ``raw/film_ratings``: names, order, types; nothing may be null."""
    import pyarrow as pa

    moment = pa.timestamp("us")
    columns: list[tuple[str, pa.DataType]] = [
        ("event_id", pa.string()), ("tenant", pa.string()), ("user_id", pa.string()),
        ("item_id", pa.string()), ("rating", pa.float64()), ("event_time", moment),
        ("known_at", moment),
    ]  # fmt: skip
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


@cache
def items_schema() -> pa.Schema:
    """Schema of ``raw/film_items``: "" where there is no text, spaces between tags."""
    import pyarrow as pa

    names = ("item_id", "tenant", "title", "description", "tags", "category")
    fields = [pa.field(name, pa.string(), nullable=False) for name in names]
    return pa.schema([*fields, pa.field("known_at", pa.timestamp("us"), nullable=False)])


def ratings(path: Path) -> pa.Table:
    """Ratings of the mirror's ``RATINGS_FILE``, or of the owner's zip, in time order.

    Raises:
        duckdb.Error: The file lacks a column or is no Parquet file.
        KeyError: The zip holds no ``u.data``.
    """
    return _read(path, _u_data, _RATINGS).cast(ratings_schema())


def items(path: Path) -> pa.Table:
    """Films of the mirror's ``ITEMS_FILE``, or of the owner's zip, by number.

    Raises:
        duckdb.Error: The file lacks a column or is no Parquet file.
        KeyError: The zip holds no ``u.item``.
    """
    return _read(path, _u_item, _ITEMS).cast(items_schema())


def _read(path: Path, unzip: Callable[[Path], pa.Table], query: str) -> pa.Table:
    """The query's rows of the table ``given``: the file, whichever of the two layouts it has."""
    import duckdb

    with duckdb.connect() as connection:
        if path.suffix == ".zip":
            connection.register("given", unzip(path))
        else:
            connection.read_parquet(str(path)).create_view("given")
        table: pa.Table = connection.sql(query).to_arrow_table()
    return table


def _u_data(path: Path) -> pa.Table:
    """``u.data``: user, item, rating and second, with tabs between."""
    import pyarrow as pa

    lines = [line.split("\t") for line in _member(path, "u.data")]
    names = ("user", "item", "rating", "ts")
    columns = {name: [int(line[i]) for line in lines] for i, name in enumerate(names)}
    return pa.table(columns)


def _u_item(path: Path) -> pa.Table:
    """``u.item``: number, title, two dates and an address, then a flag per genre."""
    import pyarrow as pa

    lines = [line.split("|") for line in _member(path, "u.item")]
    flags = [[g for g, flag in zip(GENRES, line[5:], strict=True) if flag == "1"] for line in lines]
    columns = {"item": [int(line[0]) for line in lines], "title": [line[1] for line in lines],
               "genres": ["|".join(named) for named in flags]}  # fmt: skip
    return pa.table(columns)


def _member(path: Path, name: str) -> list[str]:
    """The lines of one file of the zip, whatever folder it lies in; Latin-1, as the owner says."""
    with zipfile.ZipFile(path) as archive:
        found = [member for member in archive.namelist() if member.rpartition("/")[2] == name]
        if not found:
            raise KeyError(f"{path.name} holds no {name}; give the owner's ml-100k.zip")
        with archive.open(found[0]) as stream:
            text = stream.read().decode("latin-1")
    return [line for line in text.split("\n") if line]
