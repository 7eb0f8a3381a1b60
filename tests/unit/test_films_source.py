"""raw/film_ratings and raw/film_items: both layouts read into the same rows."""

import datetime as dt
import functools
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import duckdb
import pyarrow.compute as pc
import pytest

from assets.raw import SOURCES
from assets.sources import films
from stores.origin import Origin, PinnedFile

FLAGS = {"Animation": 3, "Comedy": 5, "Romance": 14}


def zipped(folder: Path) -> Path:
    """The owner's layout with two films and three ratings, not in the order of time."""

    def film(number, title, *genres):
        flags = ["1" if at in {FLAGS[g] for g in genres} else "0" for at in range(19)]
        return "|".join([str(number), title, "01-Jan-1995", "", "http://x", *flags])

    path = folder / "ml-100k.zip"
    lines = [film(7, "Cité des enfants, La (1995)", "Romance"),
             film(2, "Toy\x85Story (1995)", "Animation", "Comedy")]  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "ml-100k/u.data", "5\t7\t3\t881250949\n1\t2\t5\t881250940\n1\t7\t4\t881250940\n"
        )
        archive.writestr("ml-100k/u.item", "\n".join(lines).encode("latin-1") + b"\n")
    return path


def mirrored(folder: Path) -> tuple[Path, Path]:
    """The same rows in the mirror's layout."""
    rated, known = folder / "ratings.parquet", folder / "items.parquet"
    with duckdb.connect() as connection:
        connection.sql(
            "copy (select * from (values (5, 7, 3, 881250949), (1, 2, 5, 881250940), "
            f"(1, 7, 4, 881250940)) as t(\"user\", item, rating, ts)) to '{rated}' (format parquet)"
        )
        connection.sql(
            "copy (select * from (values (7, 'Cité des enfants, La (1995)', 'Romance'), "
            "(2, 'Toy\x85Story (1995)', 'Animation|Comedy')) as t(item, title, genres)) "
            f"to '{known}' (format parquet)"
        )
    return rated, known


def test_importing_the_source_imports_nothing_heavy() -> None:
    heavy = ("pyarrow", "duckdb", "pandas", "numpy")
    code = f"import sys, assets.sources.films; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ratings_come_in_time_order_with_ids_as_text(tmp_path: Path) -> None:
    table = films.ratings(zipped(tmp_path))
    assert table.schema.equals(films.ratings_schema())
    moment = dt.datetime(1997, 12, 4, 15, 55, 40)
    assert table.slice(0, 1).to_pylist() == [
        {"event_id": "films@1-2-881250940", "tenant": "films", "user_id": "1", "item_id": "2",
         "rating": 5.0, "event_time": moment, "known_at": moment}
    ]  # fmt: skip
    assert table["item_id"].to_pylist() == ["2", "7", "7"]


def test_films_bring_title_and_genres(tmp_path: Path) -> None:
    first, second = films.items(zipped(tmp_path)).to_pylist()
    assert first == {
        "item_id": "2", "tenant": "films", "title": "Toy\x85Story (1995)", "description": "",
        "tags": "Animation Comedy", "category": "Animation", "known_at": dt.datetime(1997, 9, 19),
    }  # fmt: skip
    assert second["title"] == "Cité des enfants, La (1995)"


def test_both_layouts_give_the_same_rows(tmp_path: Path) -> None:
    archive, (rated, known) = zipped(tmp_path), mirrored(tmp_path)
    assert films.ratings(archive).equals(films.ratings(rated))
    assert films.items(archive).equals(films.items(known))


def test_another_archive_is_refused_by_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(KeyError, match=r"other\.zip holds no u\.data; give the owner's ml-100k"):
        films.ratings(tmp_path / "other.zip")


def test_the_public_origin_reads_what_the_owner_publishes(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    archive = zipped(tmp_path / "site")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site")
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/ml-100k.zip"
        (source,) = (source for source in SOURCES if source.name == "film_ratings")
        assert source.published == (PinnedFile(films.PUBLIC_URL, films.PUBLIC_SHA256),)
        origin = Origin(kind="public")
        here = source._replace(published=(PinnedFile(address, digest),))
        assert origin.fetch(here, tmp_path / "cache").num_rows == 3
        assert origin.version(here) == f"public-{digest[:16]}"
        server.shutdown()


@pytest.mark.mirror
def test_the_real_mirror_is_the_pinned_files_and_reads() -> None:
    if "ASSAY_MIRROR" not in os.environ:
        pytest.skip("set ASSAY_MIRROR to the folder of the data mirror")
    origin = Origin(mirror=Path(os.environ["ASSAY_MIRROR"]))
    rated, known = (
        origin.fetch(source, Path()) for source in SOURCES if source.name.startswith("film_")
    )
    assert (rated.num_rows, known.num_rows) == (100_000, 1_682)  # its README
    assert len(rated["user_id"].unique()) == 943
    assert (
        pc.min(rated.group_by("user_id").aggregate([("rating", "count")])["rating_count"]).as_py()
        == 20
    )
