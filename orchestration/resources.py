"""What assets receive as arguments, made from the settings. A test passes a temporary folder."""

import logging

import dagster as dg

from models.core.signing import ensure_keypair
from orchestration.settings import Settings
from stores.deployer import Deployer
from stores.router_process import RouterProcess
from stores.spool import TrafficPolicy


def build_deployer(settings: Settings) -> Deployer:
    """The deployer that rolls services out on this machine."""
    home = settings.home_paths()
    _, public_key = ensure_keypair(home.keys)
    return Deployer(home.root, home.bentos, public_key, spool_mb=settings.spool_mb)


def build_router(settings: Settings) -> RouterProcess:
    """The router of this machine."""
    return RouterProcess(
        settings.home_paths(), settings.host, settings.port, spool_mb=settings.spool_mb
    )


def build_resources(settings: Settings) -> dg.Definitions:
    """Resources, executor and console logger of the code location."""
    return dg.Definitions(
        resources={
            "settings": settings,
            "home": settings.home_paths(),
            "origin": settings.data_origin(),
            "tracking": settings.tracking(),
            "traffic": TrafficPolicy(
                retention_days=settings.retention_days,
                outcome_after_hours=settings.outcome_after_hours,
                outcome_within_days=settings.outcome_within_days,
            ),
            "cost_per_hour": settings.cost_per_hour,
            "deployer": dg.ResourceDefinition(lambda _: build_deployer(settings)),
        },
        # A step process of its own costs 3-4 s; a run is a process of its own already.
        executor=dg.in_process_executor,
        loggers={"console": progress_logger},
    )


class _Short(logging.Formatter):
    """``step  message``: what a person wants to follow; the event log keeps the rest."""

    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", {})
        step = str(meta.get("step_key") or "run").replace("__", "/")
        text = f"  {step:<34} {meta.get('orig_message') or record.getMessage()}"
        error = getattr(
            getattr(meta.get("dagster_event"), "event_specific_data", None), "error", None
        )
        return f"{text} {error.message.strip()}" if error else text


def _worth_reading(record: logging.LogRecord) -> bool:
    """What a stage says, and every failure; not the framework's own events."""
    event = getattr(record, "dagster_meta", {}).get("dagster_event")
    return event is None or record.levelno >= logging.ERROR


@dg.logger
def progress_logger(_: dg.InitLoggerContext) -> logging.Logger:
    """Progress on the console: the stages' own words and what failed, without framework events."""
    logger = logging.Logger("assay", level=logging.INFO)
    handler = logging.StreamHandler()
    handler.setFormatter(_Short())
    handler.addFilter(_worth_reading)
    logger.addHandler(handler)
    return logger
