"""Values by key within so many bytes, for a while; who was not asked for longest goes first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

#: What an entry takes beside its value: key, expiry, places in two tables (CPython 3.11, measured).
ENTRY_BYTES = 330


class Memory:
    """Answers of one process; the least recently used go when they take too much.

    Args:
        most_bytes: Of all entries, overhead included.
        clock: Monotonic clock.
    """

    def __init__(self, most_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most_bytes, self.bytes = most_bytes, 0
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()

    def __len__(self) -> int:
        """Entries, those that ended and were not asked for since included."""
        return len(self._kept)

    def get(self, key: bytes) -> bytes | None:
        """The value, if it did not end."""
        found = self._kept.get(key)
        if found is None:
            return None
        value, ends = found
        if ends <= self._clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return value

    def items(self) -> Iterator[tuple[bytes, bytes, float]]:
        """Key, value and seconds left of what did not end; the one unused for longest first."""
        now = self._clock()
        for key, (value, ends) in self._kept.items():
            if ends > now:
                yield key, value, ends - now

    def put(self, key: bytes, value: bytes, seconds: float) -> None:
        """Keep a value for a while; one that is larger than everything may be is not kept."""
        self._drop(key)
        if len(value) + ENTRY_BYTES > self.most_bytes or seconds <= 0:
            return
        self._kept[key] = value, self._clock() + seconds
        self.bytes += len(value) + ENTRY_BYTES
        while self.bytes > self.most_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        if (found := self._kept.pop(key, None)) is not None:
            self.bytes -= len(found[0]) + ENTRY_BYTES
