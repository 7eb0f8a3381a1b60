"""Every setting, read once from the environment (prefix ``ASSAY_``); each has a working default."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from stores.home import Home
from stores.origin import Origin
from stores.tracking import Tracking


class Settings(BaseSettings):
    """Environment variables and their defaults (docs/operations.md lists them)."""

    model_config = SettingsConfigDict(env_prefix="ASSAY_", frozen=True)

    home: Path = Field(default=Path("var"), description="Folder everything is kept in")
    origin: Literal["mirror", "public", "generator"] | None = Field(
        default=None,
        description="Where raw data comes from; unset: the mirror when ASSAY_MIRROR is set, "
        "else the generator",
    )
    mirror: Path | None = Field(default=None, description="Folder of the data mirror")
    public_url: str | None = Field(
        default=None, description="Address that serves the mirror's files (origin `public`)"
    )
    generator_seed: int = Field(default=0, description="Seed of the generated events")
    generator_rows: int = Field(default=12_000, ge=1_000, description="Generated events")
    mlflow_uri: str | None = Field(
        default=None, description="MLflow tracking URI; unset: `<home>/mlflow.db`"
    )
    dagster_url: str | None = Field(
        default=None,
        description="Postgres that Dagster keeps runs and events in (needs dagster-postgres); "
        "unset: SQLite below the home",
    )
    tensorboard: Path | None = Field(
        default=None, description="Folder of TensorBoard's files of fits under way; unset: none"
    )
    spool_mb: int = Field(
        default=512, ge=1, description="Size at which a service's log is full and it answers 503"
    )
    retention_days: int = Field(default=90, ge=1, description="Days the prediction log is kept")
    outcome_after_hours: float = Field(
        default=24.0, ge=0, description="A prediction is judged from this age on"
    )
    outcome_within_days: float = Field(
        default=30.0, gt=0, description="An outcome known later than this is kept and not judged"
    )
    cost_per_hour: float = Field(
        default=0.05, ge=0, description="Price of one busy machine hour, for cost per 1,000"
    )
    alert_urls: str = Field(
        default="", description="Where alerts go besides the log: Apprise URLs, space separated"
    )
    alert_mute: str = Field(
        default="", description="Alerts nobody wants: `kind` or `kind:subject`, * allowed, spaced"
    )

    host: str = Field(default="127.0.0.1", description="Address the gateway serves on")
    port: int = Field(default=3100, ge=0, le=65535, description="Port of the gateway; 0: any")

    def home_paths(self) -> Home:
        """The home with an absolute root: child processes run elsewhere."""
        return Home(self.home.absolute())

    def data_origin(self) -> Origin:
        """The origin of raw data."""
        return Origin(
            kind=self.origin,
            mirror=self.mirror,
            public_url=self.public_url,
            seed=self.generator_seed,
            rows=self.generator_rows,
        )

    def tracking(self) -> Tracking:
        """The MLflow store."""
        root = self.home_paths().root
        curves = self.tensorboard.absolute() if self.tensorboard else None
        return Tracking(self.mlflow_uri or f"sqlite:///{root}/mlflow.db", root / "mlruns", curves)
