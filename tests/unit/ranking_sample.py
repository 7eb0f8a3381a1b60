"""Two kinds of people, two kinds of films: small interactions whose best answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.contracts.learner import Catalogue, Interactions

USERS, ITEMS = 24, 16


def rows_of(
    pairs: Sequence[tuple[int, int]],
    users: int,
    items: int,
    *,
    strengths: Sequence[float] | None = None,
    liked: Sequence[bool] | None = None,
    fields: dict[str, tuple[str, ...]] | None = None,
    friends: Sequence[tuple[int, int]] = (),
) -> Interactions:
    """Interactions in the order given; user 3 is "u3", item 5 is "i5"."""
    who = np.array(pairs, np.int64).reshape(-1, 2)
    return Interactions(
        users=who[:, 0],
        items=who[:, 1],
        strengths=np.array(strengths if strengths is not None else np.ones(len(who)), float),
        liked=np.array(liked if liked is not None else np.ones(len(who)), bool),
        times=np.arange(len(who), dtype=float),
        user_ids=tuple(f"u{number}" for number in range(users)),
        catalogue=Catalogue(tuple(f"i{number}" for number in range(items)), fields or {}),
        friends=np.array(friends, np.int64).reshape(-1, 2),
    )


def two_tastes(seed: int = 0) -> Interactions:
    """Even users have even items, odd users odd ones: six of the eight each, none of the others."""
    generator = np.random.default_rng(seed)
    pairs = [
        (user, int(item))
        for user in range(USERS)
        for item in generator.permutation(np.arange(user % 2, ITEMS, 2))[:6]
    ]
    order = generator.permutation(len(pairs))
    kinds = ("a comedy with a dog", "a thriller in the dark")
    return rows_of(
        [pairs[place] for place in order],
        USERS,
        ITEMS,
        strengths=generator.integers(1, 6, len(pairs)).tolist(),
        fields={"title": tuple(f"film {n}" for n in range(ITEMS)),
                "description": tuple(kinds[n % 2] for n in range(ITEMS))},
        friends=[(user, user + 2) for user in range(USERS - 2)],
    )  # fmt: skip
