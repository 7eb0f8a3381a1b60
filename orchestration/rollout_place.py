"""What an arrow of a rollout changes on this machine, and what can be seen of a rollout here.

Everything may be done again: after a crash most of it is found done. Which arrow comes next is
``orchestration.rollouts``'s affair, what the figures mean is ``models.core.rollouts``'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache

from filelock import FileLock, Timeout
from pydantic import JsonValue

from assets.stages.bento import pack
from assets.stages.monitoring_decisions import load_profile
from assets.stages.service import golden_of, roll_out
from models.contracts.monitoring import Recalibration
from models.contracts.product import ModelProduct
from models.contracts.rollout import RolloutPlan, RolloutStep, Tally, Variant
from models.contracts.routing import Instance, Placement, RoutingTable
from models.core.rollouts.decide import Elapsed
from models.core.rollouts.enforce import Routes
from models.core.rollouts.fold import fold
from models.registry import get
from orchestration.resources import build_deployer
from orchestration.settings import Settings
from stores import gateway_store, rollout_journal
from stores.bento_store import BentoError
from stores.deployer import Deployer, RolloutError, ServiceRecord
from stores.files import write_atomic
from stores.home import Home
from stores.ledger import Ledger, LedgerError, now_utc
from stores.service_slot import CHALLENGER

#: A gateway has so long to follow a new table.
FOLLOW_SECONDS = 5.0


class BusyError(LedgerError):
    """Another process moves the rollout now."""


class Place:
    """One product's rollout on this machine.

    Args:
        product: Whose.
        settings: Where everything is.
        deployer: Starts services; None means this machine's.
        clock: Of the ledger.
        say: Receives progress.
    """

    def __init__(
        self,
        product: ModelProduct,
        settings: Settings,
        *,
        deployer: Deployer | None = None,
        clock: Callable[[], datetime] = now_utc,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.product, self.home, self.say = product, settings.home_paths(), say
        self.ledger = Ledger(self.home.ledger(product), clock)
        self._settings = settings
        self._deployer = deployer or build_deployer(settings)
        self._slot = self._deployer.slot(CHALLENGER)

    @contextmanager
    def alone(self, seconds: float) -> Iterator[None]:
        """One actor per product, over all processes.

        Raises:
            BusyError: Another one acts, and did not end in time.
        """
        folder = self.home.root / "rollouts"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / f"{self.product.slug}.lock").acquire(timeout=seconds):
                yield
        except Timeout as error:
            raise BusyError(
                f"{self.product.key}: another process moves its rollout; try again in a minute"
            ) from error

    def plan(self, step: RolloutStep) -> RolloutPlan:
        """What the rollout's step 0 declared."""
        entries = self.ledger.rollout_entries(step.rollout_id)
        declared = RolloutStep.model_validate(entries[0].body).plan
        if declared is None:
            raise LedgerError(f"{step.rollout_id} began without a plan; see `assay explain`")
        return declared

    def elapsed(self, step: RolloutStep) -> Elapsed:
        """Since the stage, and the rollout's first, began to run."""
        now = self.ledger.now()
        running: dict[int, datetime] = {}
        for entry in self.ledger.rollout_entries(step.rollout_id):
            if entry.body["phase"] == "running":
                running.setdefault(RolloutStep.model_validate(entry.body).stage, entry.at)
        stage, first = running[step.stage], min(running.values())
        return Elapsed((now - stage).total_seconds(), (now - first).total_seconds() / 3600)

    def prepare(self, step: RolloutStep) -> Routes:
        """Start the challenger beside the champion, without traffic; what stands in its way."""
        release = self.ledger.release(step.challenger)
        running = self._slot.current(self.product)
        if running is None or running.version != release.version:
            rollout_journal.clear(self.home, self.product)
            self.say(f"starting {release.version} beside {step.champion}")
            golden = golden_of(self.product, self.home, release)
            try:
                tag = pack(self.product, release, self.home).tag
                self._slot.spawn(self.product, tag, golden)
            except (RolloutError, BentoError) as error:
                return Routes(golden=str(error))
        self._refresh(trial=True, placement=None)
        return self._routes()

    def give(self, step: RolloutStep, plan: RolloutPlan) -> None:
        """The step's share to the challenger; nothing is written where it has it."""
        placement = Placement(
            rollout_id=step.rollout_id, kind=plan.kind, challenger=step.challenger,
            weight=step.weight, mirror=plan.mirror, sticky=plan.sticky,
        )  # fmt: skip
        routes = gateway_store.read_table(self.home).products.get(self.product.key)
        if routes is None or routes.placement != placement:
            self._refresh(trial=True, placement=placement)

    def take_away(self) -> None:
        """No request and no copy to the challenger, from a quarter of a second on."""
        self._refresh(trial=False, placement=None)

    def count(self, step: RolloutStep, plan: RolloutPlan) -> Tally:
        """Everything that gateways wrote down so far."""
        tally = rollout_journal.load_tally(self.home, self.product, step.rollout_id)
        reading = rollout_journal.read(self.home, self.product, step.rollout_id)
        if reading.segments:
            tally = fold(tally, reading.lines, plan, self._recalibrations(step))
            rollout_journal.save_tally(self.home, self.product, tally)
            rollout_journal.drop(reading)
        return tally

    def broken(self, step: RolloutStep) -> str | None:
        """What ended, of what the rollout lives on: a release's process, the journal."""
        logs = self.home.root / "services"
        if self._slot.current(self.product) is None:
            return f"the challenger's process ended; its log lies in {logs}"
        if self._deployer.current(self.product) is None:
            return f"the champion's process ended; `assay serve {self.product.key}` starts it again"
        told = (p for one in gateway_store.instances(self.home) for p in one.problems)
        return next((problem for problem in told if step.rollout_id in problem), None)

    def routes(self, step: RolloutStep) -> Routes:
        """What gateways do and count."""
        seen = self._routes()
        return seen._replace(told=self._told(step))

    def hand_over(self, step: RolloutStep) -> None:
        """Make the challenger the champion: ledger, traffic, service. What others moved stays."""
        current = self.ledger.current()
        if current is not None and current.version == step.champion:
            body: dict[str, JsonValue] = {
                "version": step.challenger, "from_version": step.champion, "by": step.by,
                "rollout_id": step.rollout_id, "reason": step.reason,
            }  # fmt: skip
            self.ledger.append("promotion", body, while_serving=step.champion)
        elif current is None or current.version != step.challenger:
            return
        if (trial := self._slot.current(self.product)) is not None:
            # all traffic to the proven process, so that no answer of the next lines is a mixture
            self._refresh(trial=True, placement=None, champion=trial)
            self._followed()
        if self.ledger.rolled_out() != step.challenger:
            roll_out(self.product, self.home, self._deployer, self.say)

    def settle(self) -> None:
        """The challenger's slot drained, aliases as the ledger says."""
        self.take_away()
        self._followed()
        self._slot.stop(self.product)
        tracking = self._settings.tracking()
        tracking.point_aliases(self.product, self.ledger.current(), self.ledger.previous())

    def _refresh(
        self, *, trial: bool, placement: Placement | None, champion: ServiceRecord | None = None
    ) -> None:
        """The table from what runs."""
        key, home = self.product.key, self.home

        def change(table: RoutingTable) -> RoutingTable:
            serving = champion or self._deployer.current(self.product)
            running = [self._slot.current(self.product) if trial else None, serving]
            members = [
                gateway_store.member(home, self.product, one.version, one.url)
                for one in running
                if one
            ]
            version = serving.version if serving else None
            fresh = gateway_store.refreshed(table, home, self.product, members, version)
            routes = fresh.products[key].model_copy(update={"placement": placement})
            return gateway_store.with_product(fresh, routes)

        gateway_store.write_table(home, change)

    def _followed(self) -> RoutingTable:
        table = gateway_store.read_table(self.home)
        gateway_store.acknowledged(self.home, table.generation, FOLLOW_SECONDS)
        return table

    def _routes(self) -> Routes:
        table = self._followed()
        living = gateway_store.instances(self.home)
        behind = tuple(one.id for one in living if one.generation < table.generation)
        return Routes(acknowledged=bool(living), behind=behind)

    def _told(self, step: RolloutStep) -> float | None:
        """The challenger's share by the gateways' counters, since the stage began.

        None at its first look, and where overrides or flags move requests that no hash drew.
        """
        table = gateway_store.read_table(self.home)
        routes = table.products.get(self.product.key)
        if routes is None or routes.overrides or table.flags:
            return None
        now = {
            one.id: _answered(one, self.product.key) for one in gateway_store.instances(self.home)
        }
        before = self._counted(step, now)
        pair = (step.challenger, step.champion)
        given = [
            sum(
                counts.get(one, 0) - before.get(name, {}).get(one, 0)
                for name, counts in now.items()
            )
            for one in pair
        ]
        return given[0] / sum(given) if sum(given) else None

    def _counted(
        self, step: RolloutStep, now: Mapping[str, Mapping[str, int]]
    ) -> Mapping[str, Mapping[str, int]]:
        """What the gateways had counted at the stage's first look, which is kept."""
        folder = rollout_journal.folder(self.home, self.product, step.rollout_id)
        file = folder / f"counted-{step.stage}.json"
        if not file.exists():
            write_atomic(file, json.dumps(now))
        kept: Mapping[str, Mapping[str, int]] = json.loads(file.read_text())
        return kept

    def _recalibrations(self, step: RolloutStep) -> dict[Variant, Recalibration]:
        versions: dict[Variant, str] = {"champion": step.champion, "challenger": step.challenger}
        found = {v: _recalibration(self.product.key, self.home, e) for v, e in versions.items()}
        return {variant: each for variant, each in found.items() if each is not None}


def _answered(one: Instance, product: str) -> Mapping[str, int]:
    return one.answered.get(product, {})


@lru_cache(maxsize=16)
def _recalibration(key: str, home: Home, version: str) -> Recalibration | None:
    """Of a release's profile; None of a release from before there were profiles."""
    product = get(key)
    release = Ledger(home.ledger(product)).release(version)
    try:
        profile = load_profile(product, home, release)
    except FileNotFoundError:
        return None
    return profile.recalibration if profile else None
