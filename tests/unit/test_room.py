"""Requests wait for a release for so long as they can be answered in time, and are else told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.ports import Shed
from gateway.room import Room


def crowded(check: Callable[[Room], Awaitable[None]], waiting: int) -> None:
    """A room of one place in which an answer took 0.2 s, with so many that wait."""

    async def run() -> None:
        room = Room(1, longest_wait=1.0)
        await room.enter()
        async with room.place():
            await asyncio.sleep(0.2)
        await room.enter()
        others = [asyncio.create_task(room.enter()) for _ in range(waiting)]
        await asyncio.sleep(0)
        await check(room)
        for one in others:
            one.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        assert room.wait_seconds == 0, "who gives up does not wait"

    asyncio.run(run())


def test_who_would_wait_too_long_is_told_when_to_come_again():
    async def check(room: Room) -> None:
        assert room.wait_seconds == pytest.approx(1.2, abs=0.2)
        with pytest.raises(Shed) as told:
            room.check(60, "traffic")
        assert told.value.seconds == 2
        room.check(60, "golden")

    crowded(check, 6)


def test_half_the_time_that_is_left_may_be_waited_and_copies_leave_first():
    async def check(room: Room) -> None:
        assert room.wait_seconds == pytest.approx(0.6, abs=0.1)
        room.check(60, "traffic")
        for seconds, purpose in ((1.0, "traffic"), (60, "shadow")):
            with pytest.raises(Shed):
                room.check(seconds, purpose)  # type: ignore[arg-type]

    crowded(check, 3)


def test_an_empty_room_lets_everybody_in():
    async def check(room: Room) -> None:
        room.check(0.001, "shadow")

    crowded(check, 0)
