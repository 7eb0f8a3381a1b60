"""A home of one product in a folder of its own, run in this process. No assertion lives here.

Everything is real (Dagster, dbt, MLflow, BentoML's build) but the roll-out, which is recorded
unless a test passes the real deployer.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from assets.chain import build_product
from assets.dbt import build_dbt_assets
from assets.dbt_manifest import load_manifest
from assets.dbt_passed import Passed, passed
from assets.raw import SOURCES, build_raw
from assets.sources import merges
from assets.stages.kept import candidate_file
from models.contracts.api import GoldenSet
from models.contracts.product import ModelProduct, Trial
from models.contracts.results import CandidateSet, Evaluation, GateDecision, Snapshot
from models.core.signing import ensure_keypair
from models.risk.sync_conflict.product import NAMED, PRODUCT
from orchestration.refresh import Workplace, plan
from orchestration.running import execute, instance
from orchestration.settings import Settings
from stores.deployer import Deployer, Rollout
from stores.files import sha256, write_atomic
from stores.home import Home
from stores.landing import Landing
from stores.ledger import Ledger
from tests.flow.pages import plain_pages

ROWS, SEED = 4_000, 0
STAGES = ("dataset", "candidates", "evaluation", "promotion", "bento", "service")
#: What a run of the chain may leave behind; a refused one leaves all of it as it was.
KEPT = ("datasets", "candidates", "evaluations", "latest", "ledger", "bentos")

NAMED_ONLY = Trial(name="logistic_named", params={"model": "logistic"}, columns=NAMED)
LOGISTIC = Trial(name="logistic_all", params={"model": "logistic"})
#: The generator's law has an interaction that no logistic regression can express.
TREES = Trial(
    name="trees",
    params={"model": "xgboost", "rounds": 60, "depth": 4, "rate": 0.15, "columns": 0.5},
)


def events(rows: pd.DataFrame) -> pa.Table:
    """Raw rows as a file of the source holds them."""
    return pa.Table.from_pandas(rows, schema=merges.schema(), preserve_index=False)


#: A busy machine takes more CPU time for the same answer: latency is not what these tests judge.
PATIENT = PRODUCT.gate.model_copy(update={"max_latency_ms": 100.0})


def with_trials(*trials: Trial) -> ModelProduct:
    """The real product with other trials."""
    return PRODUCT.model_copy(update={"trials": trials, "gate": PATIENT})


#: The real product with two cheap trials.
CHEAP = with_trials(NAMED_ONLY, LOGISTIC)


@dataclass
class RecordingDeployer:
    """Stands in for the service where it is not the subject."""

    calls: list[str] = field(default_factory=list)

    def roll_out(self, product: ModelProduct, bento_tag: str, golden: GoldenSet) -> Rollout:
        """Remember the tag."""
        self.calls.append(bento_tag)
        return Rollout(
            product=product.key, bento=bento_tag, version=bento_tag.partition(":")[2],
            url="http://127.0.0.1:1", previous=None, golden_rows=len(golden.rows),
            max_difference=0.0,
        )  # fmt: skip


def deployer_of(root: Path) -> Deployer:
    """The real one of a home."""
    home = Home(root)
    return Deployer(root, home.bentos, ensure_keypair(home.keys)[1])


class Ran(NamedTuple):
    """What one run did."""

    success: bool
    materialized: set[str]
    #: Failed checks: name to message.
    failed: dict[str, str]
    checks: dict[str, dg.AssetCheckEvaluation]
    error: str


@dataclass(frozen=True)
class Place:
    """One home."""

    root: Path
    product: ModelProduct = CHEAP
    deployer: Any = field(default_factory=RecordingDeployer)
    rows: int = ROWS
    #: Whether pictures and Evidently's pages are made as well.
    drawn: bool = False

    @property
    def settings(self) -> Settings:
        """Settings that the environment of the tests does not change."""
        return Settings(
            home=self.root, origin="generator", mirror=None, public_url=None,
            generator_seed=SEED, generator_rows=self.rows, mlflow_uri=None,
        )  # fmt: skip

    @property
    def home(self) -> Home:
        """Paths."""
        return self.settings.home_paths()

    @property
    def ledger(self) -> Ledger:
        """The release ledger."""
        return Ledger(self.home.ledger(self.product))

    @cached_property
    def definitions(self) -> dg.Definitions:
        """The code location as ``orchestration.definitions`` makes it, for this home only."""
        resources = {
            "home": self.home,
            "origin": self.settings.data_origin(),
            "tracking": self.settings.tracking(),
            "deployer": self.deployer,
        }
        assets = [*(build_raw(source) for source in SOURCES), build_dbt_assets(load_manifest())]
        chain = dg.Definitions(assets=assets, resources=resources, executor=dg.in_process_executor)
        return dg.Definitions.merge(chain, build_product(self.product))

    def copy(self, root: Path, product: ModelProduct | None = None) -> Place:
        """The same state in another folder, perhaps with a changed product.

        MLflow keeps the absolute paths of its artifacts: a copy adds runs beside the original's.
        """
        shutil.copytree(self.root, root)
        return Place(root, product or self.product, rows=self.rows)

    def serving(self, deployer: Any) -> Place:
        """The same home with another deployer."""
        return replace(self, deployer=deployer)

    def pages(self) -> AbstractContextManager[None]:
        """Pages as this place wants them."""
        return nullcontext() if self.drawn else plain_pages()

    def stages(self, first: str = "dataset", last: str = "service") -> list[str]:
        """Keys of the stages from one to another."""
        chosen = STAGES[STAGES.index(first) : STAGES.index(last) + 1]
        return [f"{self.product.key}/{stage}" for stage in chosen]

    def plan(self) -> dict[str, str]:
        """What the planner wants to run, with its reasons."""
        place = Workplace(self.home, self.settings.data_origin(), SOURCES, [self.product])
        with instance(self.settings) as found:
            reasons = plan(self.definitions.resolve_asset_graph(), found, place)
        return {key.to_user_string(): reason for key, reason in reasons.items()}

    def run(self, keys: Collection[str]) -> Ran:
        """One run of these assets."""
        with self.pages(), instance(self.settings) as found:
            wanted = [dg.AssetKey.from_user_string(key) for key in keys]
            result = execute(self.definitions, found, wanted)
        checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
        made = (event.asset_key for event in result.get_asset_materialization_events())
        failures = [event for event in result.all_events if event.is_step_failure]
        return Ran(
            success=result.success,
            materialized={key.to_user_string() for key in made if key},
            failed={name: c.description or "" for name, c in checks.items() if not c.passed},
            checks=checks,
            error="\n".join(e.step_failure_data.error_display_string for e in failures),
        )

    def refresh(self) -> Ran:
        """What ``assay run`` does: run what the planner wants."""
        return self.run(list(self.plan()))

    def state(self) -> dict[str, str]:
        """Digest of every file that a refused run must leave alone, and where the aliases point."""
        files = (p for name in KEPT for p in (self.root / name).rglob("*") if p.is_file())
        found = {str(p.relative_to(self.root)): sha256(p) for p in files if p.suffix != ".lock"}
        return found | {f"alias {name}": version for name, version in self.aliases().items()}

    def aliases(self) -> dict[str, str]:
        """MLflow's aliases: name to registered version."""
        client = self.settings.tracking().client
        return {
            k: str(v) for k, v in client.get_registered_model(self.product.slug).aliases.items()
        }

    def snapshot(self) -> Snapshot:
        """The newest snapshot."""
        folder = self.home.dataset(self.product, self.home.require_latest(self.product, "dataset"))
        return Snapshot.model_validate_json((folder / "manifest.json").read_text())

    def candidates(self) -> CandidateSet:
        """The newest candidates."""
        identity = self.home.require_latest(self.product, "candidates")
        return CandidateSet.model_validate_json(
            self.home.candidate_set(self.product, identity).read_text()
        )

    def evaluation(self) -> Evaluation:
        """The newest evaluation."""
        text = (self.evaluation_folder() / "evaluation.json").read_text()
        return Evaluation.model_validate_json(text)

    def decision(self) -> GateDecision:
        """What the gate said of the newest evaluation."""
        found = self.ledger.decision(self.evaluation().evaluation_id)
        if found is None:
            raise LookupError("the gate was not asked yet")
        return found

    def evaluation_folder(self) -> Path:
        """Folder of the newest evaluation."""
        identity = self.home.require_latest(self.product, "evaluation")
        return self.home.evaluation(self.product, identity)

    def golden(self) -> GoldenSet:
        """Golden requests of the newest evaluation's challenger."""
        challenger = self.evaluation().challenger
        path = candidate_file(self.evaluation_folder(), "golden", challenger)
        return GoldenSet.model_validate_json(path.read_text())

    def features(self) -> pd.DataFrame:
        """The feature table."""
        return pd.read_parquet(self.home.table(self.product.data.features))

    def plant_features(
        self, change: Callable[[pd.DataFrame], pd.DataFrame], definition: str | None = None
    ) -> None:
        """Change the feature table as bad SQL would that passed every dbt test.

        ``definition`` None: the SQL is as before, the data under it went bad.
        """
        key = self.product.data.features
        before = passed(self.home, key)
        assert before is not None
        path = self.home.table(key)
        change(self.features()).to_parquet(path)
        record = Passed(sha256=sha256(path), definition=definition or before.definition)
        write_atomic(path.with_suffix(".passed"), record.model_dump_json())

    def raw(self) -> pd.DataFrame:
        """Every landed raw row."""
        parts = Landing(self.root).parts("merges")
        return pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)

    def drop(self, name: str, table: pa.Table) -> None:
        """Put a file into the inbox."""
        pq.write_table(table, Landing(self.root).inbox("merges") / name)
