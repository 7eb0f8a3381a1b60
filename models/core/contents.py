"""What a file of an artifact may contain: each kind by its own signature, so no pickle passes.

Belongs here: looking at bytes. Does not belong here: reading files, building anything from them.

A name proves nothing, so every kind is recognised by what it must look like, and what looks like
none of them is refused. Pickles hide in three places beyond that: inside a zip, inside a NumPy file
of dtype object, and (protocol 0) in plain text.
"""

from __future__ import annotations

import io
import json
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

#: Binary pickles begin with PROTO and a version; ``torch.save`` and joblib put them into zips.
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
#: Stands for "no more than this may be unpacked": a compressed bomb is refused by its header.
_LARGEST_MEMBER = 1 << 30


def refusal(name: str, data: bytes) -> str | None:
    """Why a file may not be in an artifact, or None when it may.

    Args:
        name: File name; only its suffix counts.
        data: The whole content.
    """
    suffix = PurePosixPath(name).suffix
    if suffix not in KINDS:
        return f"is of the kind {suffix or 'without a suffix'}"
    if is_pickle(data):
        return "is a pickle: loading it would run code"
    return KINDS[suffix](data)


def is_pickle(data: bytes) -> bool:
    """Whether the bytes begin with a pickle, of any protocol."""
    if _PICKLE.match(data) and not _is_safetensors(data):
        return True
    try:  # the disassembler runs nothing, and knows when the stack of a pickle cannot be right
        with warnings.catch_warnings():  # bytes that are no pickle may look like odd escapes
            warnings.simplefilter("ignore", DeprecationWarning)
            pickletools.dis(data, io.StringIO())
    except (ValueError, IndexError, UnicodeError):
        return False
    return True


def _json(data: bytes) -> str | None:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return "is not JSON"
    return None


def _text(data: bytes) -> str | None:
    try:
        return "is not text" if "\0" in data.decode("utf-8") else None
    except UnicodeDecodeError:
        return "is not UTF-8 text"


def _ubj(data: bytes) -> str | None:
    # an object whose first key (length as int64) is XGBoost's "learner"
    return None if data.startswith(b"{L\0\0\0\0\0\0\0\7learner") else "is no XGBoost model"


def _is_safetensors(data: bytes) -> bool:
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length]
    return len(header) == length and header.startswith(b"{") and _json(header) is None


def _safetensors(data: bytes) -> str | None:
    return None if _is_safetensors(data) else "is no safetensors file"


def _onnx(data: bytes) -> str | None:
    # protobuf: field 1 (ir_version) as varint comes first in every ONNX file
    return None if re.match(rb"\x08[\x01-\x7f]", data) else "is no ONNX model"


def _skops(data: bytes) -> str | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if "schema.json" not in names:
                return "is a zip without a skops schema"
            for member in members:
                if member.file_size > _LARGEST_MEMBER:
                    return f"holds {member.filename} of {member.file_size} bytes unpacked"
                if reason := _skops_member(member.filename, archive.read(member)):
                    return f"holds {member.filename}, which {reason}"
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        return f"is no skops file ({error})"
    return None


def _skops_member(name: str, data: bytes) -> str | None:
    if is_pickle(data):
        return "is a pickle: loading it would run code"
    if name == "schema.json":
        return _json(data)
    if not name.endswith(".npy") or not data.startswith(b"\x93NUMPY"):
        return "is neither the schema nor a NumPy array"
    width = 2 if data[6:7] == b"\1" else 4  # of the header's length, by format version
    header = data[: 8 + width + int.from_bytes(data[8 : 8 + width], "little")]
    return "holds pickled objects" if b"|O" in header or b"'O" in header else None


#: Suffixes an artifact may hold, each with the look at its content.
KINDS: Mapping[str, Callable[[bytes], str | None]] = MappingProxyType(
    {
        ".json": _json,
        ".sig": _json,
        ".skops": _skops,
        ".ubj": _ubj,
        ".safetensors": _safetensors,
        ".onnx": _onnx,
        ".txt": _text,
    }
)
