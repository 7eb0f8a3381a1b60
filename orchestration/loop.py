"""What monitoring and people asked for and nobody has done yet: rollback, release, retraining.

The sensors, the command line and the tests ask here and get the same answer, from the ledger and
the newest monitoring result. Nothing is judged here: monitoring did that, and wrote it down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import dagster as dg

from assets.stages.approval import newest_approval
from assets.stages.common import stage_key
from assets.stages.monitoring import read_latest
from models.contracts.product import ModelProduct
from orchestration.refresh import AFTER_GATE, plan
from orchestration.settings import Settings
from stores.deployer import Deployer
from stores.home import Home
from stores.ledger import Entry, Ledger

#: Tag of the run that serves a request; one run per value, whoever starts it.
SERVED = "assay/serves"


class Due(NamedTuple):
    """One thing to do, once.

    Attributes:
        key: Names the request: run key of the sensor's run, and its ``SERVED`` tag.
        reason: One sentence, for the ledger and the tick.
        to_version: What a rollback goes to.
    """

    kind: Literal["rollback", "approved", "retrain"]
    product: str
    key: str
    reason: str
    to_version: str | None = None

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the run that does it."""
        return {SERVED: self.key}

    def rollback_config(self) -> dict[str, object]:
        """Run configuration of the job ``rollback``; without a person, the ledger says so."""
        config = {"product": self.product, "to_version": self.to_version, "reason": self.reason}
        return {"ops": {"rollback_release": {"config": {**config, "automatic": True}}}}


class Done(NamedTuple):
    """What became of a request."""

    due: Due
    success: bool


def due_rollback(product: ModelProduct, home: Home) -> Due | None:
    """The automatic rollback that monitoring's newest result asks for.

    Only of the champion it judged, and only while the gate's release of it is the last word: what
    a person or an earlier rollback put in place stays.
    """
    result = read_latest(product, home)
    if result is None or result.rollback is None or not result.rollback.roll_back:
        return None
    wanted, ledger = result.rollback, Ledger(home.ledger(product))
    moved = ledger.moved()
    if moved is None or moved.body.get("version") != wanted.champion:  # a rollback has none
        return None
    previous = ledger.previous()
    if previous is None or previous.version != wanted.previous:
        return None
    key = f"rollback:{product.key}:{wanted.champion}:{result.as_of:%Y%m%dT%H%M%S}"
    return Due("rollback", product.key, key, wanted.reason, wanted.previous)


def due_retraining(product: ModelProduct, home: Home) -> Due | None:
    """The retraining that the ledger asks for, unless it became pointless.

    It is, when another champion serves by now, or a new evaluation was judged since.
    """
    ledger = Ledger(home.ledger(product))
    asked, current = ledger.newest("retrain"), ledger.current()
    if asked is None or current is None or asked.body["champion"] != current.version:
        return None
    if _judged_anew(ledger.entries(), asked):
        return None
    key = f"retrain:{product.key}:{asked.body['window']}"
    return Due("retrain", product.key, key, str(asked.body["reason"]))


def due_release(product: ModelProduct, home: Home) -> Due | None:
    """The challenger that waited, was approved in time, and has not met the gate again."""
    ledger = Ledger(home.ledger(product))
    asked = newest_approval(product, ledger, home.latest(product, "evaluation"))
    if asked is None or asked.given is None:
        return None
    key = f"approved:{product.key}:{asked.given.digest[:16]}"
    return Due("approved", product.key, key, asked.sentence(product))


def served(instance: dg.DagsterInstance, due: Due) -> bool:
    """Whether a run was started for this request, by a sensor or by hand."""
    return instance.get_runs_count(dg.RunsFilter(tags=due.tags)) > 0


def release_keys(product: ModelProduct) -> list[dg.AssetKey]:
    """What runs for an approved challenger: the gate, packing, the service."""
    return [stage_key(product, stage) for stage in AFTER_GATE]


class Site(NamedTuple):
    """Where to act.

    Attributes:
        instance: Where runs are recorded; a request that a run there serves is not repeated.
        deployer: Rolls back; None means this machine's.
    """

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    settings: Settings
    deployer: Deployer | None = None


def act(
    site: Site, chosen: Sequence[ModelProduct], say: Callable[[str], object]
) -> tuple[Done, ...]:
    """Do in this process, once, what the sensors would do: rollbacks, releases, retrainings.

    Args:
        site: Where.
        chosen: The products.
        say: Receives a line per request.

    Returns:
        What was done, in order; empty when nothing was due.
    """
    home, done = site.settings.home_paths(), []
    for product in chosen:
        for ask in (due_rollback, due_release, due_retraining):
            due = ask(product, home)
            if due is None or served(site.instance, due):
                continue
            say(f"{due.key}: {due.reason}")
            success = _roll_back(due, site) if due.to_version else _run(due, product, site)
            if success is None:
                say(f"{due.key}: nothing changed since; it runs when new rows or code are in")
            else:
                done.append(Done(due, success))
    return tuple(done)


def _roll_back(due: Due, site: Site) -> bool:
    from orchestration.jobs import rollback
    from orchestration.resources import build_deployer

    deployer = site.deployer or build_deployer(site.settings)
    result = rollback.execute_in_process(
        run_config={**due.rollback_config(), "loggers": {"console": {}}},
        instance=site.instance,
        tags=due.tags,
        raise_on_error=False,
        resources={"deployer": deployer, "settings": site.settings},
    )
    return bool(result.success)


def _run(due: Due, product: ModelProduct, site: Site) -> bool | None:
    """Whether the run succeeded; None when there was nothing to run."""
    from orchestration.running import execute, workplace

    keys = release_keys(product)
    if due.kind == "retrain":
        graph, place = site.definitions.resolve_asset_graph(), workplace(site.settings, [product])
        keys = list(plan(graph, site.instance, place))
    return execute(site.definitions, site.instance, keys, due.tags).success if keys else None


def _judged_anew(entries: Sequence[Entry], asked: Entry) -> bool:
    """Whether the gate spoke, after the request, on an evaluation it did not know before."""
    before: set[object] = set()
    for entry in entries:
        if entry.kind == "decision":
            identity = entry.body["evaluation_id"]
            if entry.sequence > asked.sequence and identity not in before:
                return True
            before.add(identity)
    return False
