"""The one folder everything is kept in, and what lies where. No content, only paths.

``<home>/`` raw, inbox, quarantine, warehouse.duckdb, features, datasets, candidates, evaluations,
checkpoints, latest, ledger, keys, bentos, services, gateway, mlflow.db, dagster; of the way back:
spool, raw/predictions, raw/outcomes, raw/refusals, traffic, monitoring, alerts, status.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.contracts.product import ModelProduct
from stores.files import write_atomic

#: The admin service hands out evaluation pages here: a browser opens no file from a web page.
ADMIN_PORT = 3900

Stage = Literal["dataset", "candidates", "evaluation"]


class MissingError(Exception):
    """Something a step needs is not there yet; the message says which step makes it."""


@dataclass(frozen=True)
class Home:
    """Paths below one root; the root is made by whoever writes first."""

    root: Path

    @property
    def keys(self) -> Path:
        """Signing keys."""
        return self.root / "keys"

    @property
    def bentos(self) -> Path:
        """BentoML's home."""
        return self.root / "bentos"

    @property
    def gateway(self) -> Path:
        """What gateways serve, and what they say of themselves."""
        return self.root / "gateway"

    @property
    def dagster(self) -> Path:
        """Dagster's home."""
        return self.root / "dagster"

    def table(self, key: str) -> Path:
        """Parquet file of a feature table, e.g. key ``features/risk/merges``."""
        return self.root / f"{key}.parquet"

    def dataset(self, product: ModelProduct, snapshot_id: str) -> Path:
        """Folder of one snapshot."""
        return self.root / "datasets" / product.slug / snapshot_id

    def candidate(self, product: ModelProduct, candidate_id: str) -> Path:
        """Folder of one sealed candidate."""
        return self.root / "candidates" / product.slug / candidate_id

    def candidate_set(self, product: ModelProduct, set_id: str) -> Path:
        """File that lists the candidates fitted together."""
        return self.root / "candidates" / product.slug / f"set-{set_id}.json"

    def checkpoints(self, product: ModelProduct) -> Path:
        """Folder of fits under way; gone when every trial is sealed."""
        return self.root / "checkpoints" / product.slug

    def evaluation(self, product: ModelProduct, evaluation_id: str) -> Path:
        """Folder of one evaluation."""
        return self.root / "evaluations" / product.slug / evaluation_id

    def page_url(self, product: ModelProduct, evaluation_id: str, name: str) -> str:
        """Address of an evaluation's page while `assay up` runs."""
        return f"http://127.0.0.1:{ADMIN_PORT}/evaluations/{product.slug}/{evaluation_id}/{name}"

    def spool(self, product: ModelProduct) -> Path:
        """Folder the product's service appends its log to; the ingestion empties it."""
        return self.root / "spool" / product.slug

    def stopped_mark(self, product: ModelProduct) -> Path:
        """File that says a person stopped the product's service; gone when it serves again."""
        return self.root / "services" / f"{product.slug}.stopped"

    @property
    def traffic(self) -> Path:
        """Folder of what dbt makes of predictions and outcomes, as Parquet."""
        return self.root / "traffic"

    def monitoring(self, product: ModelProduct) -> Path:
        """Folder of the product's window reports and ``latest.json``."""
        return self.root / "monitoring" / product.slug

    @property
    def alerts(self) -> Path:
        """Folder of the alert table and the incident reports."""
        return self.root / "alerts"

    @property
    def status_page(self) -> Path:
        """The page a person looks at first."""
        return self.root / "status" / "index.html"

    def latest(self, product: ModelProduct, stage: Stage) -> str | None:
        """Id of what the stage last finished; None before its first success."""
        pointer = self._pointer(product, stage)
        return pointer.read_text(encoding="utf-8") if pointer.exists() else None

    def require_latest(self, product: ModelProduct, stage: Stage) -> str:
        """Like ``latest``.

        Raises:
            MissingError: The stage has not finished yet.
        """
        found = self.latest(product, stage)
        if found is None:
            raise MissingError(
                f"{product.key}: nothing in {stage} yet; run `assay run {product.key}` "
                f"or materialise {product.key}/{stage} first"
            )
        return found

    def set_latest(self, product: ModelProduct, stage: Stage, identity: str) -> None:
        """Say what the stage finished; the last thing a stage does."""
        write_atomic(self._pointer(product, stage), identity)

    def ledger(self, product: ModelProduct) -> Path:
        """The product's append-only release ledger."""
        return self.root / "ledger" / f"{product.slug}.jsonl"

    def _pointer(self, product: ModelProduct, stage: Stage) -> Path:
        return self.root / "latest" / product.slug / stage
