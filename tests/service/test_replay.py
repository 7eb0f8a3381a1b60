"""Golden requests asked again: every answer is counted and compared, and none is no match."""

from __future__ import annotations

import httpx
import pytest

from models.contracts.api import GoldenSet
from stores.golden import MismatchError, replay
from stores.listener import open_port

GOLDEN = GoldenSet(rows=({"value": 0.25}, {"value": 0.5}), expected=(0.25, 0.5))


@pytest.mark.parametrize("answer", [
    {"predictions": []}, {"predictions": [{"probability": 0.5}]},
])  # fmt: skip
def test_replay_counts_the_answers(monkeypatch: pytest.MonkeyPatch, answer: object):
    monkeypatch.setattr(httpx, "post", lambda *a, **k: httpx.Response(200, json=answer))
    with pytest.raises(MismatchError, match="2 golden requests got"):
        replay("http://service", GOLDEN)


def test_replay_shows_a_refusal_and_a_dead_service(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(httpx, "post", lambda *a, **k: httpx.Response(400, text="why not"))
    with pytest.raises(MismatchError, match="answered 400: why not"):
        replay("http://service", GOLDEN)
    monkeypatch.undo()
    with open_port("127.0.0.1", 0) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(MismatchError, match="ConnectError"):
        replay(f"http://127.0.0.1:{port}", GOLDEN)


def test_replay_refuses_nan(monkeypatch: pytest.MonkeyPatch):
    text = '{"predictions": [{"probability": NaN}]}'
    monkeypatch.setattr(httpx, "post", lambda *a, **k: httpx.Response(200, text=text))
    with pytest.raises(MismatchError, match="nan"):
        replay("http://service", GoldenSet(rows=({"value": 1},), expected=(0.5,)))
