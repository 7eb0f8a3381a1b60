"""A text that nothing else is computed beside: on one thread, or on all cores where that is faster.

Threads that wait busily for each other take a third off a small network's time on idle cores, and
add half to it where a neighbour has one of them; threads that sleep meanwhile gain nothing at all.
Which holds cannot be known beforehand, so both are timed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from bentos.runtime import Runtime
from bentos.text_labels import answers
from bentos.text_labels.answers import Said

#: Every so many texts the slower one answers: it may be the faster one by now.
EVERY = 32
#: Weight of the newest text in an average.
_NEWEST = 0.1
#: Characters whose time any text takes, however short.
_FIXED = 50


class Alone:
    """The faster of two runtimes of one model; asked by one thread at a time.

    Args:
        ways: The one that is asked first, and the others; equal answers but for rounding.
    """

    def __init__(self, *ways: Runtime) -> None:
        self._ways = ways
        self._seconds: dict[int, float] = {}
        self._asked = 0

    def say(self, text: str) -> Said:
        """Ask one of them."""
        way = self._next()
        began = time.perf_counter()
        said = answers.say(self._ways[way], [text])
        self._learn(way, (time.perf_counter() - began) / (_FIXED + len(text)))
        return said

    def warm_up(self, text: str) -> None:
        """Ask all of them; how long they take the first time says nothing."""
        for way in self._ways:
            answers.say(way, [text])

    def _next(self) -> int:
        untried = (way for way in range(len(self._ways)) if way not in self._seconds)
        if (new := next(untried, None)) is not None:
            return new
        self._asked += 1
        order = sorted(self._seconds, key=self._seconds.__getitem__)
        return order[-1] if self._asked % EVERY == 0 else order[0]

    def _learn(self, way: int, each: float) -> None:
        before = self._seconds.get(way, each)
        self._seconds[way] = before + _NEWEST * (each - before)


def ways(runtime: Runtime, threads: int) -> Sequence[Runtime]:
    """The model as it is, and on several threads.

    The latter only of a single exported network: one of torch has one number of threads for all
    lanes, and an ensemble would be in memory twice.
    """
    from models.core.text.onnx_form import OnnxNetwork

    network = getattr(runtime.predictor, "network", None)
    if threads < 2 or not isinstance(network, OnnxNetwork):
        return (runtime,)
    wider = replace(runtime.predictor, network=replace(network, threads=threads, spins=True))
    return runtime, replace(runtime, predictor=wider)
