"""Products that rank a catalogue for each user; a judged user is one unit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from models.contracts.api import GoldenSet
from models.contracts.learner import FitContext, Interactions, Learner, Query, Vector
from models.contracts.product import (
    EVENT_ID,
    EVENT_TIME,
    ITEM,
    SLICE_PREFIX,
    TENANT,
    USER,
    Data,
    ModelProduct,
    Trial,
)
from models.contracts.results import Candidate, CheckResult, Measure
from models.contracts.routing import Rule
from models.core.checks import CHECKS
from models.kinds import Answered, Draft, Fit, Kind, Model, Tables, Watched, spread

if TYPE_CHECKING:
    import pandas as pd

    from models.core.ranking.questions import Question
    from models.core.slices import Units

HISTORY, RELEVANT = "history", "relevant"
SCORE, HIT = "watched_score", "hit_rate_at_10"
#: A list is always given: as a decision, every one is a yes, right when it has a hit.
EVERY_LIST = 0.0
#: Popular items that a rule knows: as many as may be asked for, and some to be left out.
RULE_ITEMS = 500
_SHARED = ("schema", "keys", "future_leak", "late_correction", "freshness", "drift")


class RankedItems(Kind):
    """The kind of contract ``ranked_items``.

    Whether another list would have had a hit, the log cannot tell: no other release can score it
    again. A learning curve would cost minutes a point. Halves of users' histories are no two
    samples of the same question.
    """

    checks = MappingProxyType(
        {
            **{name: CHECKS[name] for name in _SHARED},
            "interactions": "Has every row its user, item and strength, each pair about once?",
            "catalogue": "Is every item in the catalogue, once?",
            "judged_users": "Are there users enough to judge?",
        }
    )

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric per user."""
        from models.core.metrics import PER_USER

        return PER_USER

    def check(self, data: Data, draft: Draft) -> tuple[CheckResult, ...]:
        """The checks of any table that make sense here, then those of interactions."""
        from models.core.checks import check_dataset, interactions
        from models.core.checks.common import conclude
        from models.core.ranking import frames, judging

        frame, parts, previous, more, same_definition = draft
        shared = check_dataset(
            data, frame, parts, previous, same_definition=same_definition, only=_SHARED
        )
        listed = more[data.tables[0]]
        own = (
            interactions.interactions(current=frame),
            interactions.catalogue(current=frame, items=listed),
        )
        if not all(check.passed for check in own):
            said = ["not judged: mend the interactions first"]
            return (*shared, *own, conclude("judged_users", said, ""))
        items, train, holdout = (
            frames.catalogue(listed),
            frame.iloc[parts.train],
            frame.iloc[parts.holdout],
        )
        users = {
            "validation": judging.users_asked(*frames.newest(train, data.folds.k), items),
            "holdout": judging.users_asked(train, holdout, items),
        }
        return (*shared, *own, interactions.judged_users(users))

    def fit(
        self,
        product: ModelProduct,
        learner: Learner[Interactions, Any],
        trial: Trial,
        tables: Tables,
        context: FitContext,
    ) -> Fit:
        """Fit on all training rows but the newest 1 / k, validate on those, keep that fit.

        An ensemble learns on what its members did not see, the validating rows: on those of one
        half of the users to judge the other half, both ways, then on all of them.
        """
        from models.core.ranking import frames, judging, questions, watch

        items = frames.catalogue(tables.more[product.data.tables[0]])
        friends = tables.more[product.data.tables[1]] if product.data.tables[1:] else None
        older, newer = frames.newest(tables.train, product.data.folds.k)
        rows, later = frames.interactions(older, items, friends), frames.interactions(newer, items)
        asked = questions.questions(later, rows)
        begun = time.perf_counter()
        if trial.after and not trial.form:
            halves = [newer[judging.half(newer[USER]) == part] for part in (0, 1)]
            models = [learner.fit(trial, frames.interactions(h, items), context) for h in halves]
            judge = [models[1 - part] for part in judging.half(q.user for q in asked)]
            begun = time.perf_counter()
            predictor = learner.fit(trial, later, context)
        else:
            predictor = learner.fit(trial, rows, context)
            judge = [predictor] * len(asked)
        seconds = time.perf_counter() - begun
        rankings = judging.answers(judge, asked)
        values = judging.measure(rankings, asked, items, judging.counts(rows))
        known, hits = judging.known(predictor, asked), values[HIT]
        curve = watch.fit_hits(known, hits)
        cv = {name: (float(column.mean()),) for name, column in values.items()}
        return Fit(predictor, cv, EVERY_LIST, curve, seconds)

    def units(self, product: ModelProduct, tables: Tables) -> pd.DataFrame:
        """Users who like something new in the second half of their holdout rows.

        Slices are those of a user's first holdout row: what was known when the model was fitted.
        """
        from models.core.ranking import frames, questions

        items = frames.catalogue(tables.more[product.data.tables[0]])
        holdout = tables.holdout.sort_values(EVENT_TIME, kind="stable").reset_index(drop=True)
        later = frames.interactions(holdout, items)
        asked = questions.questions(later, frames.interactions(tables.train, items))
        users = [question.user for question in asked]
        slices = [str(name) for name in holdout.columns if str(name).startswith(SLICE_PREFIX)]
        first = holdout.drop_duplicates(USER).set_index(USER).loc[users, [TENANT, *slices]]
        found: pd.DataFrame = first.reset_index()
        found[EVENT_ID] = users
        found[EVENT_TIME] = holdout[EVENT_TIME].to_numpy()[[question.row for question in asked]]
        found[HISTORY] = [json.dumps(question.history) for question in asked]
        found[RELEVANT] = [json.dumps(question.relevant) for question in asked]
        return found

    def answer(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, tables: Tables
    ) -> dict[str, Vector]:
        """Every metric per user, and what the prediction log would hold."""
        from models.core.ranking import frames, judging, questions, watch

        items = frames.catalogue(tables.more[product.data.tables[0]])
        asked = _questions(units)
        queries = [questions.query(question, judging.LONGEST) for question in asked]
        rankings = model.predictor.recommend(queries)
        seen = judging.counts(frames.interactions(tables.train, items))
        values = judging.measure(rankings, asked, items, seen)
        noted = [
            watch.watch(product, model.candidate.thresholds, model.predictor, query, ranking)
            for query, ranking in zip(queries, rankings, strict=True)
        ]
        inputs = np.array([one.inputs for one in noted])
        logged = {_logged(name): inputs[:, i] for i, name in enumerate(product.data.names)}
        return {**values, SCORE: np.array([one.score for one in noted]), **logged}

    def paired(
        self,
        product: ModelProduct,
        units: pd.DataFrame,
        challenger: Answered,
        champion: Answered | None,
    ) -> Units:
        """Values per user of both models."""
        from models.core.units import ListScores

        del product, units

        def of(answers: Mapping[str, Vector]) -> dict[str, Vector]:
            return {name: np.asarray(answers[name], float) for name in self.metrics}

        return ListScores(of(challenger[1]), of(champion[1]) if champion else None)

    def singles(self, model: Model, units: pd.DataFrame) -> list[Callable[[], object]]:
        """Rank for one user."""
        from models.core.ranking import questions

        asked = [questions.query(question, 10) for question in _questions(units)]
        return [partial(model.predictor.recommend, [query]) for query in asked]

    def examine(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, tables: Tables
    ) -> dict[str, Measure]:
        """Use of the catalogue, bias towards the popular, cold start, a lost history."""
        from models.core.ranking import examine, frames, judging

        items = frames.catalogue(tables.more[product.data.tables[0]])
        seen = judging.counts(frames.interactions(tables.train, items))
        return examine.examine(model.predictor, _questions(units), items, seen)

    def golden(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, rows: int
    ) -> GoldenSet:
        """Requests of users spread over the holdout, every second one without its user."""
        from models.core.ranking import questions

        del product
        chosen = units.iloc[spread(units, model.candidate, rows)]
        asked = [questions.query(question, 10) for question in _questions(chosen)]
        asked = [q._replace(user=None) if i % 2 else q for i, q in enumerate(asked)]
        return GoldenSet(
            rows=tuple(map(_request, asked, chosen[TENANT].tolist())),
            expected=tuple(list(answer.items) for answer in model.predictor.recommend(asked)),
        )

    def watched(
        self,
        product: ModelProduct,
        units: pd.DataFrame,
        answers: Mapping[str, Vector],
        tables: Tables,
    ) -> Watched:
        """What the service logs of each user's request, and whether it was a hit."""
        del tables
        inputs = np.column_stack([answers[_logged(name)] for name in product.data.names])
        times = units[EVENT_TIME].to_numpy("datetime64[us]")
        return Watched(inputs, np.asarray(answers[SCORE]), np.asarray(answers[HIT]), times)

    def rule(self, product: ModelProduct, candidate: Candidate, train: pd.DataFrame) -> Rule:
        """The items that were taken most, and how likely one of ten is taken by a stranger."""
        from models.core.ranking.watch import hit_probability

        counts = train[ITEM].astype(str).value_counts(sort=False)
        order = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return Rule(
            product=product.key,
            probability=float(hit_probability(candidate.thresholds, np.zeros(1))[0]),
            threshold=candidate.threshold,
            items=tuple(str(item) for item, _ in order[:RULE_ITEMS]),
        )

    def watched_metric(self, product: ModelProduct) -> str:
        """The share of lists with a hit: no log holds what else would have been right.

        Not how well hits are foretold: a better recommender, whose hits surprise, would look worse.
        """
        del product
        return "precision"


def _questions(units: pd.DataFrame) -> list[Question]:
    from models.core.ranking.questions import Question

    columns = (units[USER], units[HISTORY], units[RELEVANT])
    return [
        Question(user, tuple(json.loads(history)), tuple(json.loads(relevant)), number)
        for number, (user, history, relevant) in enumerate(zip(*columns, strict=True))
    ]


def _logged(name: str) -> str:
    return f"logged_{name}"


def _request(query: Query, tenant: str) -> dict[str, Any]:
    row: dict[str, Any] = {TENANT: tenant, "k": query.k, "history": list(query.history)}
    return row if query.user is None else {**row, USER: query.user}


KIND = RankedItems()
