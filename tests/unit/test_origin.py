"""Where raw data comes from: several pinned files, in order, or the generator."""

import hashlib

import pyarrow as pa
import pytest

from stores.origin import Origin, OriginError, PinnedFile, Source

SCHEMA = pa.schema([pa.field("text", pa.string())])


def lines(*paths):
    """One row per file: what it says."""
    return pa.table({"text": [path.read_text() for path in paths]}, schema=SCHEMA)


def source_of(folder, **contents):
    """A source of files with these contents, written below ``folder``."""
    files = []
    for name, text in contents.items():
        (folder / name).write_text(text)
        files.append(PinnedFile(name, hashlib.sha256(text.encode()).hexdigest()))
    return Source("notes", "Notes.", "team:sync", tuple(files), lambda: SCHEMA, lines, repeated)


def repeated(seed, rows):
    """The generator: rows of the seed."""
    return pa.table({"text": [str(seed)] * rows}, schema=SCHEMA)


def test_every_file_reaches_the_conversion_in_the_order_of_the_source(tmp_path):
    source = source_of(tmp_path, b="second", a="first")
    found = Origin(mirror=tmp_path).fetch(source, tmp_path)
    assert found["text"].to_pylist() == ["second", "first"]


def test_one_file_that_is_not_the_pinned_one_stops_the_whole_source(tmp_path):
    source = source_of(tmp_path, a="first", b="second")
    (tmp_path / "b").write_text("changed")
    with pytest.raises(OriginError, match=r"b has sha256 .*fetch the mirror again"):
        Origin(mirror=tmp_path).fetch(source, tmp_path)
    (tmp_path / "b").unlink()
    with pytest.raises(OriginError, match=r"b is missing; set ASSAY_MIRROR"):
        Origin(mirror=tmp_path).fetch(source, tmp_path)


def test_one_file_names_the_version_by_its_own_digest_and_several_by_all(tmp_path):
    one = source_of(tmp_path, a="first")
    both = source_of(tmp_path, a="first", b="second")
    changed = source_of(tmp_path, a="first", b="other")
    origin = Origin(mirror=tmp_path)
    assert origin.version(one) == f"mirror-{hashlib.sha256(b'first').hexdigest()[:16]}"
    assert len({origin.version(source) for source in (one, both, changed)}) == 3


def test_without_a_mirror_the_generator_is_asked_with_seed_and_rows(tmp_path):
    origin = Origin(seed=7, rows=2)
    assert origin.fetch(source_of(tmp_path), tmp_path)["text"].to_pylist() == ["7", "7"]
