"""Can a recommender learn from these interactions, and can it be judged on them?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from models.contracts.product import ITEM, LABEL, STRENGTH, USER
from models.contracts.results import CheckResult
from models.core.checks.common import conclude, example

if TYPE_CHECKING:
    import pandas as pd

#: Share of rows that may repeat an earlier pair of user and item. Somebody rates a film again now
#: and then; a delivery under new ids repeats most of them.
MAX_REPEATED = 0.05
#: Share of liked rows outside of which likes were not recorded, or everything counts as one.
MIN_LIKED, MAX_LIKED = 0.01, 0.99
#: One user with more than this share of all rows is a shared account or a machine.
MAX_OF_ONE = 0.1
#: Fewer users than this and their mean says nothing (the gate tests no smaller slice either).
MIN_JUDGED = 30


def catalogue(*, current: pd.DataFrame, items: pd.DataFrame) -> CheckResult:
    """Items that are interacted with but not in the catalogue, or in it twice.

    Args:
        current: The feature table.
        items: The catalogue.

    Returns:
        Check ``catalogue``.
    """
    if missing := [f"{n} of {t}" for t, frame, n in
                   (("the interactions", current, ITEM), ("the catalogue", items, ITEM))
                   if n not in frame.columns]:  # fmt: skip
        return conclude("catalogue", [f"{', '.join(missing)} is missing: add it to the SQL"], "")
    problems = []
    again = items[ITEM].duplicated().to_numpy()
    if again.any():
        problems.append(
            f"{again.sum()} items stand in the catalogue twice (e.g. "
            f"{items[ITEM][again].iloc[0]}): keep the newest version of each in its SQL model"
        )
    strange = ~current[ITEM].isin(items[ITEM]).to_numpy()
    if strange.any():
        problems.append(
            f"{strange.sum()} rows are of items that are not in the catalogue "
            f"({example(current, strange)}: {current[ITEM][strange].iloc[0]}): land the "
            "catalogue's newest version"
        )
    untouched = int((~items[ITEM].isin(current[ITEM])).sum())
    fine = f"{len(items)} items, every row's among them; {untouched} without any row"
    return conclude("catalogue", problems, fine, {"items": len(items), "untouched": untouched})


def interactions(*, current: pd.DataFrame) -> CheckResult:
    """Missing ids and strengths, repeated pairs, a share of likes that cannot be, one who is many.

    Args:
        current: The feature table.

    Returns:
        Check ``interactions``.
    """
    if missing := [name for name in (USER, ITEM, STRENGTH) if name not in current.columns]:
        return conclude("interactions", [f"{missing} are missing: add them to the SQL model"], "")
    empty = current[[USER, ITEM, STRENGTH]].isna().any(axis=1).to_numpy()
    if empty.any():
        said = (
            f"{empty.sum()} rows lack user, item or strength ({example(current, empty)}): fill "
            "them at the source, or leave such rows out of the SQL"
        )
        return conclude("interactions", [said], "")
    wrong = ~current[LABEL].isin([0, 1]).to_numpy()
    if wrong.any():
        said = (
            f"{wrong.sum()} labels are neither 0 nor 1 ({example(current, wrong)}): mend the "
            "feature's SQL model"
        )
        return conclude("interactions", [said], "")
    numbers = _numbers(current)
    fine = (
        f"{numbers['users']:.0f} users and {numbers['items']:.0f} items in {len(current)} rows, "
        f"{numbers['liked']:.1%} liked, {numbers['repeated']:.2%} repeated"
    )
    return conclude("interactions", [*_problems(current, numbers)], fine, numbers)


def judged_users(counts: Mapping[str, int]) -> CheckResult:
    """Whether there are users enough to judge.

    Args:
        counts: Where (``validation``, ``holdout``) to the users who liked something new there.

    Returns:
        Check ``judged_users``.
    """
    few = [f"{count} in the {where}" for where, count in counts.items() if count < MIN_JUDGED]
    said = (
        f"users who like something new: {', '.join(few)}, at least {MIN_JUDGED} are needed; wait "
        "for more rows, or make the holdout larger and folds.k smaller"
    )
    fine = ", ".join(f"{count} users judge in the {where}" for where, count in counts.items())
    return conclude("judged_users", [said] if few else [], fine, dict(counts))


def _numbers(current: pd.DataFrame) -> dict[str, float]:
    of_one = current[USER].value_counts()
    return {
        "users": float(len(of_one)),
        "items": float(current[ITEM].nunique()),
        "liked": round(float(np.mean(current[LABEL] == 1)), 4),
        "repeated": round(float(current.duplicated([USER, ITEM]).mean()), 4),
        "of_one_user": round(float(of_one.iloc[0] / len(current)), 4),
    }


def _problems(current: pd.DataFrame, numbers: Mapping[str, float]) -> Iterator[str]:
    if numbers["repeated"] > MAX_REPEATED:
        again = current.duplicated([USER, ITEM]).to_numpy()
        yield (
            f"{again.sum()} rows repeat a pair of user and item ({example(current, again)}), more "
            f"than {MAX_REPEATED:.0%}: events arrived twice under new ids; remove the copies"
        )
    if not MIN_LIKED <= numbers["liked"] <= MAX_LIKED:
        yield (
            f"{numbers['liked']:.1%} of the rows are liked, outside {MIN_LIKED:.0%} to "
            f"{MAX_LIKED:.0%}: look at the scale of the strengths and at the label's SQL"
        )
    if numbers["of_one_user"] > MAX_OF_ONE:
        yield (
            f"user {current[USER].value_counts().index[0]} has {numbers['of_one_user']:.1%} of all "
            f"rows, more than {MAX_OF_ONE:.0%}: a machine or a shared id; leave it out of the SQL"
        )
