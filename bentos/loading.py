"""From a sealed artifact to a warm engine, and back to free memory; which ones says the host."""

from __future__ import annotations

import ctypes
import gc
import importlib
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from bentos import runtime
from bentos.engine import Engine
from gateway.meters import METERS
from gateway.traffic_log import TrafficLog
from models.contracts.product import Contract, ModelProduct

#: ``module:class`` of each contract's engine; imported when one is loaded.
ENGINES: Mapping[Contract, str] = MappingProxyType(
    {
        "row_scores": "bentos.row_scores.engine:RowEngine",
        "text_labels": "bentos.text_labels.engine:TextEngine",
        "ranked_items": "bentos.ranked_items.engine:RankEngine",
    }
)


class Found(NamedTuple):
    """Where a release is.

    Attributes:
        folder: Its sealed artifact.
        log: Makes the log of its answers; releases of one product may share a spool.
    """

    product: ModelProduct
    folder: Path
    log: Callable[[], TrafficLog]


#: Product key and version to where that release is; raises ``StartError`` where it is not.
Find = Callable[[str, str], Found]


def load(found: Found, version: str) -> Engine:
    """A release in memory that answered once already; blocks.

    Args:
        found: Where it is.
        version: To answer with.

    Returns:
        Its ``bytes`` are what the process grew by, at least the size of its files.

    Raises:
        StartError: It must not be served.
    """
    begun, before = time.monotonic(), resident_bytes()
    name, _, of = ENGINES[found.product.contract].partition(":")
    make: Callable[[runtime.Runtime], Engine] = getattr(importlib.import_module(name), of)
    engine = make(runtime.load(found.product, found.folder, version))
    try:
        engine.warm_up()
    except BaseException:
        engine.close()
        raise
    engine.bytes = max(size_of(found.folder), resident_bytes() - before)
    release = {"product": found.product.key, "version": version}
    METERS.set("assay_engine_load_seconds", time.monotonic() - begun, **release)
    METERS.set("assay_engine_bytes", engine.bytes, **release)
    METERS.inc("assay_engines_loaded")
    return engine


def unload(holder: list[Engine]) -> None:
    """End an engine and give its memory back.

    Args:
        holder: The last one who holds it; emptied.
    """
    engine = holder.pop()
    engine.close()
    release = {"product": engine.runtime.product.key, "version": engine.runtime.version}
    METERS.set("assay_engine_bytes", 0, **release)
    METERS.inc("assay_engines_loaded", -1)
    del engine
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed memory otherwise


def size_of(folder: Path) -> int:
    """Bytes of the files of an artifact."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def resident_bytes() -> int:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
