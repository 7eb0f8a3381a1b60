"""Files of an artifact: no pickle passes under any name, and safe formats do."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from models.core import contents


def zipped(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return out.getvalue()


def saved_array(array):
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


VALUE = {"weights": [1.0, 2.0], "name": "model"}
PICKLES = {f"protocol {p}": pickle.dumps(VALUE, protocol=p) for p in range(6)}
EVIL = b"cos\nsystem\n(S'echo owned'\ntR."
FORBIDDEN = {
    **{(name, suffix): data for name, data in PICKLES.items() for suffix in contents.KINDS},
    **{("a protocol 0 pickle by hand", suffix): EVIL for suffix in contents.KINDS},
    ("a zip with a pickle", ".skops"): zipped(schema__json="{}", data__pkl=PICKLES["protocol 4"]),
    ("a pickle as array", ".skops"): zipped(schema__json="{}", a__npy=PICKLES["protocol 4"]),
    ("an array of objects", ".skops"): zipped(
        schema__json="{}", a__npy=saved_array(np.array([{}, None], dtype=object))
    ),
    ("objects in a record", ".skops"): zipped(
        schema__json="{}", a__npy=saved_array(np.array([(1, {})], dtype=[("i", "i4"), ("o", "O")]))
    ),
    ("a zip without schema", ".skops"): zipped(data__npy=saved_array(np.zeros(2))),
    ("torch's zip", ".skops"): zipped(**{"archive/data__pkl": PICKLES["protocol 2"]}),
    ("a compressed pickle", ".ubj"): b"\x78\x9c" + PICKLES["protocol 4"],
    ("any JSON object", ".ubj"): b"{}",
    ("no JSON", ".json"): b"{1: 2}",
    ("bytes", ".txt"): b"\x00\x01",
    ("half a header", ".safetensors"): (100).to_bytes(8, "little") + b"{}",
    ("one byte", ".onnx"): b"\x08",
    ("a pickle by its name", ".pkl"): PICKLES["protocol 4"],
    ("joblib's name", ".joblib"): b"{}",
    ("no suffix", ""): b"{}",
    ("Python", ".py"): b"print(1)",
}


@pytest.mark.parametrize(("name", "suffix"), FORBIDDEN)
def test_no_pickle_passes_under_any_name(name, suffix):
    assert contents.refusal(f"model{suffix}", FORBIDDEN[name, suffix])


def test_safe_formats_pass():
    from safetensors.numpy import save

    for size in (1, 30, 300):  # headers whose first bytes look like pickles, too
        tensors = {f"layer{i}": np.zeros(3) for i in range(size)}
        assert contents.refusal("m.safetensors", save(tensors)) is None
    header = json.dumps({"__metadata__": {"x": "y" * 1125}}).encode()
    disguised = len(header.ljust(0x0480)).to_bytes(8, "little") + header.ljust(0x0480)
    assert disguised.startswith(b"\x80\x04")
    assert contents.refusal("m.safetensors", disguised) is None
    assert contents.refusal("m.txt", "Notes. Größe: 3.".encode()) is None
    assert contents.refusal("m.onnx", b"\x08\x0a\x12\x07pytorch") is None
    assert contents.refusal("m.json", b'{"a": [1, 2.5, null]}') is None


def test_bytes_that_look_like_odd_escapes_are_no_pickle_and_no_warning():
    """A zip's time stamp may read as a text opcode with an invalid escape."""
    assert not contents.is_pickle(b"S'\\u'\n\x00not a pickle")
