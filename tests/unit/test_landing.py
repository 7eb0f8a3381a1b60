"""The raw layer: what fits enters once, what does not is kept aside, a crash loses nothing."""

import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from stores import landing as module
from stores.download import fetch_public
from stores.landing import Landing, LandingError, content_digest

SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("known_at", pa.timestamp("us"), nullable=False),
        pa.field("amount", pa.float64()),
        pa.field("ids", pa.list_(pa.int64())),
    ]
)
ROWS = {
    "event_id": ["a", "b", "c"],
    "known_at": [1_000_000, 2_000_000, 3_000_000],
    "amount": [0.5, None, -1.0],
    "ids": [[1, 2], None, []],
}


def rows(**changes: list[object]) -> pa.Table:
    return pa.table({**ROWS, **changes}, schema=SCHEMA)


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path)


def test_the_same_content_lands_once(landing: Landing) -> None:
    first = landing.land("merges", "monday", rows(), SCHEMA)
    version = landing.version("merges")
    again = landing.land("merges", "tuesday", pa.concat_tables([rows()[:1], rows()[1:]]), SCHEMA)
    assert (first.status, again.status) == ("landed", "known")
    assert landing.parts("merges") == (first.path,)
    assert landing.version("merges") == version
    assert pq.read_table(first.path).equals(rows())


def test_other_content_is_another_part_and_another_version(landing: Landing) -> None:
    empty = landing.version("merges")
    landing.land("merges", "monday", rows(), SCHEMA)
    one = landing.version("merges")
    landing.land("merges", "tuesday", rows(amount=[0.5, None, -1.5]), SCHEMA)
    assert len(landing.parts("merges")) == 2
    assert len({empty, one, landing.version("merges")}) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": [[1], [2], []]},
        {"ids": [[1, 2], [], []]},
        {"amount": [0.5, 0.0, -1.0]},
        {"event_id": ["a", "bc", ""]},
        {"event_id": ["b", "a", "c"]},
    ],
)
def test_every_difference_in_content_changes_the_digest(changes: dict[str, list[object]]) -> None:
    assert content_digest(rows(**changes)) != content_digest(rows())


def test_the_digest_ignores_file_format_and_chunks(tmp_path: Path) -> None:
    pq.write_table(rows(), tmp_path / "x.parquet", compression="none", row_group_size=1)
    assert content_digest(pq.read_table(tmp_path / "x.parquet")) == content_digest(rows())
    assert content_digest(rows()[1:]) == content_digest(rows().take([1, 2]))


def test_a_table_that_does_not_fit_is_refused_by_name_and_kept(landing: Landing) -> None:
    bad = rows().drop_columns("amount").append_column("extra", pa.array([1, 2, 3]))
    bad = bad.set_column(0, "event_id", pa.array([1, 2, 3]))
    with pytest.raises(LandingError) as error:
        landing.land("merges", "monday.parquet", bad, SCHEMA)
    message = str(error.value)
    assert "missing columns: amount" in message
    assert "unexpected columns: extra" in message
    assert "wrong types: event_id is int64, expected string" in message
    assert module.NEXT_STEP in message
    assert landing.parts("merges") == ()
    (kept,) = (landing.root / "quarantine" / "merges").glob("*.parquet")
    assert pq.read_table(kept).to_pylist() == bad.to_pylist()
    reason = json.loads(kept.with_name(f"{kept.name}.reason.json").read_text())
    assert reason == {"reason": message}


def test_a_column_that_came_later_is_null_in_files_from_before(landing: Landing) -> None:
    later = SCHEMA.append(pa.field("why", pa.string(), metadata=module.OPTIONAL))
    landed = landing.land("merges", "monday", rows(), later)
    assert pq.read_table(landed.path)["why"].to_pylist() == [None] * 3
    with pytest.raises(LandingError, match="missing columns: amount"):
        landing.land("merges", "tuesday", rows().drop_columns("amount"), later)


def test_a_null_in_a_required_column_is_refused(landing: Landing) -> None:
    with pytest.raises(LandingError, match=r"nulls in required columns: event_id \(1 of 3\)"):
        landing.land("merges", "monday", rows(event_id=["a", None, "c"]), SCHEMA)


def test_an_empty_table_is_refused(landing: Landing) -> None:
    with pytest.raises(LandingError, match="no rows; ask its sender"):
        landing.land("merges", "monday", SCHEMA.empty_table(), SCHEMA)
    assert landing.parts("merges") == ()


def test_inbox_files_are_taken_in_order_and_moved(landing: Landing) -> None:
    inbox = landing.inbox("merges")
    pq.write_table(rows(), inbox / "b.parquet")
    (inbox / "a.csv").write_text(
        "event_id,known_at,amount,ids\n"
        'd,1970-01-01 00:00:04,0.25,"[7, 8]"\n'
        "e,1970-01-01 00:00:05,,\n"
    )
    for ignored in (".half.parquet", "notes.txt"):
        (inbox / ignored).write_text("not for us")
    pending = landing.pending("merges")
    assert [p.name for p in pending] == ["a.csv", "b.parquet"]
    results = [landing.take("merges", file, SCHEMA) for file in pending]
    assert [r.status for r in results] == ["landed", "landed"]
    assert pq.read_table(results[0].path)["ids"].to_pylist() == [[7, 8], None]
    assert landing.pending("merges") == ()
    assert {p.name for p in (inbox / ".done").iterdir()} == {"a.csv", "b.parquet"}


def test_a_time_in_a_csv_is_utc_with_its_offset_taken_into_account(landing: Landing) -> None:
    file = landing.inbox("merges") / "x.csv"
    file.write_text("event_id,known_at,amount,ids\na,2024-01-01T12:00:00+02:00,1,\n"
                    "b,2024-01-01 12:00:00,1,\n")  # fmt: skip
    taken = landing.take("merges", file, SCHEMA)
    found = pq.read_table(taken.path)["known_at"].to_pylist()
    assert [time.hour for time in found] == [10, 12]


def test_a_csv_with_the_same_rows_is_known(landing: Landing) -> None:
    landing.land("merges", "x", rows(), SCHEMA)
    file = landing.inbox("merges") / "x.csv"
    file.write_text(
        "event_id,known_at,amount,ids\n"
        'a,1970-01-01 00:00:01,0.5,"[1,2]"\nb,1970-01-01 00:00:02,,\nc,1970-01-01 00:00:03,-1,[]\n'
    )
    assert landing.take("merges", file, SCHEMA).status == "known"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad.csv", b"event_id,known_at,amount,ids\na,yesterday,1,\n", "yesterday"),
        ("bad.csv", b'event_id,"a""b"\na,1\n', 'unexpected columns: a"b'),
        ("bad.parquet", b"PAR1 torn", "cannot be read"),
    ],
)
def test_a_bad_file_does_not_keep_the_good_ones_waiting(
    landing: Landing, name: str, content: bytes, reason: str
) -> None:
    inbox = landing.inbox("merges")
    (inbox / name).write_bytes(content)
    pq.write_table(rows(), inbox / "good.parquet")
    bad, good = [landing.take("merges", file, SCHEMA) for file in landing.pending("merges")]
    assert (bad.status, good.status) == ("quarantined", "landed")
    assert reason in bad.reason
    assert bad.path.read_bytes() == content
    assert json.loads(bad.path.with_name(f"{name}.reason.json").read_text())["reason"] == bad.reason
    assert landing.pending("merges") == ()


def test_two_bad_files_of_one_name_are_both_kept(landing: Landing) -> None:
    for content in (b"one", b"two"):
        file = landing.inbox("merges") / "bad.parquet"
        file.write_bytes(content)
        landing.take("merges", file, SCHEMA)
    kept = (landing.root / "quarantine" / "merges").glob("*.parquet")
    assert {p.read_bytes() for p in kept} == {b"one", b"two"}


def test_a_crash_between_landing_and_moving_costs_nothing(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = landing.inbox("merges") / "monday.parquet"
    pq.write_table(rows(), file)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "move", crash)
        with pytest.raises(KeyboardInterrupt):
            landing.take("merges", file, SCHEMA)
    assert landing.pending("merges") == (file,)
    assert landing.take("merges", file, SCHEMA).status == "known"
    assert landing.pending("merges") == ()
    assert len(landing.parts("merges")) == 1


def test_a_crash_in_the_middle_of_a_write_leaves_no_part(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(_: pa.Table, stream: object, **__: object) -> None:
        stream.write(b"PAR1 half a")  # type: ignore[attr-defined] # the open file
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", torn)
        with pytest.raises(KeyboardInterrupt):
            landing.land("merges", "monday", rows(), SCHEMA)
    assert landing.parts("merges") == ()
    assert landing.land("merges", "monday", rows(), SCHEMA).status == "landed"


@pytest.fixture
def public(tmp_path: Path) -> str:
    """Address of a small file server."""
    folder = tmp_path / "public"
    (folder / "set").mkdir(parents=True)
    (folder / "set" / "x.bin").write_bytes(b"pinned")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_public_file_is_fetched_and_verified(public: str, tmp_path: Path) -> None:
    pinned = hashlib.sha256(b"pinned").hexdigest()
    path = fetch_public(public, "set/x.bin", pinned, tmp_path / "cache")
    assert path.read_bytes() == b"pinned"
    # the verified copy needs no network
    assert fetch_public("http://127.0.0.1:1", "set/x.bin", pinned, tmp_path / "cache") == path


def test_another_content_than_the_pinned_one_is_refused(public: str, tmp_path: Path) -> None:
    with pytest.raises(LandingError, match=r"is not the pinned file.*pin its new sha256"):
        fetch_public(public, "set/x.bin", "0" * 64, tmp_path / "cache")
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", None])
def test_no_network_and_no_file_name_the_next_step(
    public: str, tmp_path: Path, address: str | None
) -> None:
    with pytest.raises(LandingError, match=r"cannot be fetched.*mirror or the generator"):
        fetch_public(address or public, "set/y.bin", "0" * 64, tmp_path / "cache")
