"""A home whose service is real and whose way back is wired. No assertion lives here.

Like ``chain.Place``, with the log of traffic, monitoring, the status page and the real deployer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from assets.chain import build_product, build_way_back
from assets.dbt import build_dbt_assets
from assets.dbt_manifest import load_manifest
from assets.raw import SOURCES, build_raw
from assets.stages.monitoring import read_latest, read_reports
from assets.stages.service import roll_out
from models.contracts.monitoring import OVERALL, MonitoringResult, VersionWindow
from models.contracts.product import ModelProduct
from orchestration import loop, rehearsal
from orchestration.rehearsal import Chapter
from orchestration.running import instance
from stores.spool import TrafficPolicy
from tests.flow.chain import CHEAP, Place, deployer_of


def _looped() -> ModelProduct:
    """Two cheap trials; no floor on slices, which only the real trials reach."""
    rails = tuple(rail for rail in CHEAP.gate.guardrails if rail.slice == OVERALL)
    return CHEAP.model_copy(update={"gate": CHEAP.gate.model_copy(update={"guardrails": rails})})


LOOPED = _looped()


@dataclass(frozen=True)
class LoopPlace(Place):
    """A home with its way back."""

    @classmethod
    @contextmanager
    def serving_copy(cls, base: Place, root: Path) -> Iterator[LoopPlace]:
        """A copy of a home with a champion, which really serves until the context ends."""
        base.copy(root)
        place = cls(root, LOOPED, deployer_of(root))
        try:
            roll_out(place.product, place.home, place.deployer, print)
            yield place
        finally:
            place.deployer.stop(place.product)

    @cached_property
    def definitions(self) -> dg.Definitions:
        """The code location, for this home only."""
        settings, manifest = self.settings, load_manifest()
        assets: list[Any] = [
            *(build_raw(source) for source in SOURCES),
            build_dbt_assets(manifest),
        ]
        resources = {
            "home": self.home,
            "origin": settings.data_origin(),
            "tracking": settings.tracking(),
            "deployer": self.deployer,
            "cost_per_hour": settings.cost_per_hour,
            "traffic": TrafficPolicy(retention_days=settings.retention_days),
        }
        chain = dg.Definitions(assets=assets, resources=resources, executor=dg.in_process_executor)
        way_back = build_way_back([self.product], manifest)
        return dg.Definitions.merge(chain, build_product(self.product), way_back)

    def live(self, chapter: Chapter) -> rehearsal.Happened:
        """A chapter happens to the service, and the way back runs."""
        running = self.deployer.current(self.product)
        with self._site() as site:
            happened = rehearsal.happen(site, self.product, chapter, running.url, print)
            rehearsal.look_back(site, self.product)
        return happened

    def judge_again(self) -> MonitoringResult:
        """Monitoring once more; the log is as it was."""
        ran = self.run([f"{self.product.key}/monitoring"])
        assert ran.success, ran.error
        return self.monitored()

    def act(self) -> tuple[loop.Done, ...]:
        """Do what is due, as the sensors would."""
        with self._site() as site:
            return loop.act(site, [self.product], print)

    def monitored(self) -> MonitoringResult:
        """What monitoring last concluded."""
        found = read_latest(self.product, self.home)
        assert found, "monitoring never ran"
        return found

    def windows(self) -> list[VersionWindow]:
        """Judged windows, oldest first."""
        reports = read_reports(self.product, self.home)
        return [one for report in reports for one in report.versions if one.verdict.judged]

    def kinds(self) -> list[str]:
        """What the ledger tells, oldest first."""
        return [entry.kind for entry in self.ledger.entries()]

    def served(self) -> list[str]:
        """Requests that Dagster recorded runs for."""
        with self._site() as site:
            tags = (run.tags.get(loop.SERVED) for run in site.instance.get_runs())
            return [key for key in tags if key]

    @contextmanager
    def _site(self) -> Iterator[loop.Site]:
        with self.pages(), instance(self.settings) as found:
            yield loop.Site(self.definitions, found, self.settings, self.deployer)
