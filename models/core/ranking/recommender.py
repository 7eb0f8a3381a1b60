"""Scores become answers: ids, seen items, filters, top-k, cold start, members, files.

Belongs here: everything an algorithm should not care about. Does not belong here: algorithms
(``scorers`` says what they are), HTTP (``bentos``), what is measured (``metrics``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from models.contracts.learner import Catalogue, Interactions, Query, Ranking
from models.core.artifact import ArtifactError
from models.core.ranking.asked import FALLBACK, Answer, Asked, Seen
from models.core.ranking.factored import scored
from models.core.ranking.popularity import Popularity
from models.core.ranking.scorers import Numbers, Scorer, Scores, load_scorer, positives

_FILE, _SEEN = "recommender.json", "seen.safetensors"
#: Scores held at once, in numbers: 64 MiB of float32.
_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class CatalogueRecommender:
    """Ranks the whole catalogue by one of its members (see ``Recommender``).

    Attributes:
        items: m ids; their positions are the item numbers.
        users: u ids.
        members: Name to scorer; the first answers when nobody asks for another.
        seen: The training histories.
        popularity: Fallback, fitted on all interactions; its counts serve the metrics too.
        categories: Per item, the names it can be filtered by, in lower case.
    """

    items: tuple[str, ...]
    users: tuple[str, ...]
    members: Mapping[str, Scorer]
    seen: Seen
    popularity: Popularity
    categories: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, rows: Interactions, members: Mapping[str, Scorer]) -> CatalogueRecommender:
        """A recommender over scorers that were fitted on these rows.

        Raises:
            ValueError: No member.
        """
        if not members:
            raise ValueError("a recommender needs at least one fitted member")
        order = np.argsort(rows.users, kind="stable")  # rows are in time order already
        lengths = np.bincount(rows.users, minlength=len(rows.user_ids))
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        counts = np.asarray(positives(rows, liked_only=False).sum(axis=0), np.float32)
        return cls(
            items=rows.catalogue.items,
            users=rows.user_ids,
            members=dict(members),
            seen=Seen(starts, rows.items[order].astype(np.int64), rows.liked[order]),
            popularity=Popularity(counts),
            categories=_categories(rows.catalogue),
        )

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Names of the members, the first answers when nobody asks."""
        return tuple(self.members)

    @cached_property
    def item_numbers(self) -> Mapping[str, int]:
        """Item id to number."""
        return {item: number for number, item in enumerate(self.items)}

    @cached_property
    def user_numbers(self) -> Mapping[str, int]:
        """User id to number."""
        return {user: number for number, user in enumerate(self.users)}

    def with_members(self, members: Mapping[str, Scorer]) -> CatalogueRecommender:
        """The same rows with other members, e.g. several fits behind one service."""
        return CatalogueRecommender(
            self.items, self.users, dict(members), self.seen, self.popularity, self.categories
        )

    def in_categories(self, names: frozenset[str]) -> frozenset[str]:
        """Items of any of these categories or with any of these tags, whatever the case."""
        wanted = {name.lower() for name in names}
        pairs = zip(self.items, self.categories, strict=True)
        return frozenset(item for item, mine in pairs if not wanted.isdisjoint(mine))

    def recommend(self, queries: Sequence[Query]) -> tuple[Ranking, ...]:
        """One ranking per query; ids nobody knows are passed over.

        Raises:
            ValueError: A query asks for an algorithm that is not there, or for less than one item.
        """
        asked = [self.asked(query) for query in queries]
        return tuple(
            Ranking(
                items=tuple(self.items[number] for number in answer.items),
                scores=tuple(answer.scores.tolist()),
                algorithm=answer.algorithm,
                known=question.user >= 0,
            )
            for question, answer in zip(asked, self.answer(asked), strict=True)
        )

    def rank(
        self, users: Numbers, k: int, algorithm: str | None = None, seen: bool = False
    ) -> Numbers:
        """The best items of known users, in numbers: for metrics, without ids.

        Returns:
            Shape (len(users), k); -1 where nothing more may be answered.
        """
        name = self._algorithm(algorithm)
        answers = self.answer([Asked(int(u), k, seen=seen, algorithm=name) for u in users])
        ranked = np.full((len(users), k), -1, np.int64)
        for row, answer in zip(ranked, answers, strict=True):
            row[: len(answer.items)] = answer.items
        return ranked

    def answer(self, asked: Sequence[Asked]) -> list[Answer]:
        """Answer questions in numbers, in bounded memory: scores of a few users at a time."""
        answers: dict[int, Answer] = {}
        width = max(1, _AT_ONCE // max(1, len(self.items)))
        for name, positions in self._by_answerer(asked):
            for start in range(0, len(positions), width):
                some = positions[start : start + width]
                picked = self._pick(name, [asked[p] for p in some])
                answers.update(zip(some, picked, strict=True))
        return [answers[position] for position in range(len(asked))]

    def save(self, folder: Path) -> None:
        """Write ids, histories and every member (a folder each) into an existing empty folder."""
        from safetensors.numpy import save_file

        save_file({**self.seen._asdict(), "counts": self.popularity.counts}, folder / _SEEN)
        names = list(self.members)
        content = {
            "members": names,
            "items": self.items,
            "users": self.users,
            "categories": self.categories,
        }
        (folder / _FILE).write_text(json.dumps(content))
        for number, name in enumerate(names):  # a name may hold what a path may not
            (folder / f"member_{number}").mkdir()
            self.members[name].save(folder / f"member_{number}")

    def importance(self) -> Mapping[str, float]:
        """Empty: the inputs are ids, not columns."""
        return {}

    def asked(self, query: Query) -> Asked:
        """A query in numbers; errors as ``recommend``."""
        if query.k < 1:
            raise ValueError(f"k must be at least 1, got {query.k}")
        return Asked(
            user=-1 if query.user is None else self.user_numbers.get(query.user, -1),
            k=query.k,
            since=self._numbers(query.history),
            banned=self._numbers(query.exclude),
            only=None if query.only is None else self._filter(query.only),
            seen=query.seen,
            algorithm=self._algorithm(query.algorithm),
        )

    def _algorithm(self, name: str | None) -> str:
        if name is None:
            return self.algorithms[0]
        if name not in self.members:
            raise ValueError(f"no algorithm {name!r} here, ask for {', '.join(self.algorithms)}")
        return name

    def _numbers(self, ids: Iterable[str]) -> Numbers:
        known = self.item_numbers
        return np.array([known[i] for i in ids if i in known], np.int64)

    @cached_property
    def _filter(self) -> Callable[[frozenset[str]], Numbers]:
        """``_numbers``, remembered: a filter such as a category is long and comes again."""
        return lru_cache(maxsize=64)(self._numbers)

    def _by_answerer(self, asked: Sequence[Asked]) -> Iterator[tuple[str, list[int]]]:
        groups: dict[str, list[int]] = {}
        for position, question in enumerate(asked):
            groups.setdefault(self._answerer(question), []).append(position)
        yield from groups.items()

    def _answerer(self, asked: Asked) -> str:
        """The member asked for, if it can; else the first that reads a history; else popularity."""
        readers = (name for name, member in self.members.items() if "history" in member.reads)
        for name in (asked.algorithm, *readers):
            if self._can(name, asked):
                return name
        return FALLBACK

    def _can(self, name: str, asked: Asked) -> bool:
        reads = self.member(name).reads
        by_user = "user" in reads and asked.user >= 0
        return not reads or by_user or ("history" in reads and len(self.history(name, asked)) > 0)

    def member(self, name: str) -> Scorer:
        """Who answers under a name: a member, or the fallback."""
        return self.members.get(name, self.popularity)

    def history(self, name: str, asked: Asked) -> Numbers:
        """What that member is told of who asks, in time order."""
        before = self.seen.of(asked.user, self.member(name).liked_only)
        if not len(asked.since):
            return before
        # what was met again counts once, where it was met last
        return np.concatenate([before[~np.isin(before, asked.since)], asked.since])

    def _pick(self, name: str, asked: Sequence[Asked]) -> Iterator[Answer]:
        users = np.array([question.user for question in asked], np.int64)
        found = scored(self.member(name), users, [self.history(name, a) for a in asked])
        for place, question in enumerate(asked):
            self._leave_out(found.scores[place], question)
            yield Answer(*found.best(place, question.k), name)

    def _leave_out(self, row: Scores, question: Asked) -> None:
        row[question.banned] = -np.inf
        if not question.seen:
            row[self.seen.of(question.user, liked_only=False)] = -np.inf
            row[question.since] = -np.inf
        if question.only is not None:
            kept = row[question.only]
            row[:] = -np.inf
            row[question.only] = kept


def load(folder: Path) -> CatalogueRecommender:
    """Load what ``save`` wrote, from a verified folder.

    Raises:
        ArtifactError: No recommender, or a member of a kind this code does not know.
    """
    from safetensors.numpy import load_file

    try:
        content = json.loads((folder / _FILE).read_text())
    except FileNotFoundError as error:
        raise ArtifactError(f"{folder} has no {_FILE}: fit the candidate again") from error
    arrays = load_file(folder / _SEEN)
    members = {
        name: load_scorer(folder / f"member_{number}")
        for number, name in enumerate(content["members"])
    }
    return CatalogueRecommender(
        items=tuple(content["items"]),
        users=tuple(content["users"]),
        members=members,
        seen=Seen(arrays["starts"], arrays["items"], arrays["liked"]),
        popularity=Popularity(arrays["counts"]),
        categories=tuple(map(tuple, content["categories"])),
    )


def _categories(catalogue: Catalogue) -> tuple[tuple[str, ...], ...]:
    """Per item its category as it is written, and each of its tags."""
    nothing = ("",) * len(catalogue.items)
    written = catalogue.fields.get("category", nothing)
    tags = catalogue.fields.get("tags", nothing)
    return tuple(
        tuple(sorted({one.lower(), *listed.lower().split()} - {""}))
        for one, listed in zip(written, tags, strict=True)
    )
