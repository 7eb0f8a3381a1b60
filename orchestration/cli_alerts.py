"""The commands about alerts: `alerts`, `alerts-test` and `dashboards`. They ask and print."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.contracts.incidents import Incident
    from stores.alerts import Alerts, Delivery
    from stores.notify import Report

out = Console()
STYLES = {"info": "", "warning": "yellow", "error": "red"}


def add_alert_commands(app: typer.Typer) -> None:
    """Put the commands on the command line."""
    app.command()(alerts)
    app.command("alerts-test")(alerts_test)
    app.command()(dashboards)


def alerts(
    open_only: Annotated[bool, typer.Option("--open", help="Only what still holds")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Newest so many")] = 50,
) -> None:
    """What went wrong, newest first, and who was told."""
    from orchestration.settings import Settings
    from stores.alerts import Alerts

    folder = Settings().home_paths().alerts
    table = Alerts(folder)
    found = table.incidents(open_only=open_only, limit=limit)
    if not found:
        out.print("no open incident" if open_only else "no incident yet")
        return
    out.print(incidents_table(table, found))
    for incident in found:
        for delivery in table.deliveries(incident.id):
            if delivery.failed_at:
                out.print(
                    f"[red]given up[/red] {incident.id} by {delivery.notifier}: {delivery.error}"
                )
    out.print(f"reports: {folder}/<id>/incident.html", soft_wrap=True)


def alerts_test() -> None:
    """Send a test message through every notifier now; exit code 1 when one did not take it."""
    from orchestration.settings import Settings
    from stores.notify import NotifyError, build_notifiers

    settings = Settings()
    folder = settings.home_paths().alerts
    folder.mkdir(parents=True, exist_ok=True)
    report, failed = _test_report(), False
    for notifier in build_notifiers(folder, settings.alert_urls.split()):
        try:
            notifier.send(report, again=False)
            out.print(f"{notifier.name}: taken", soft_wrap=True)
        except NotifyError as error:
            failed = True
            out.print(f"[red]{notifier.name}: {error}[/red]", soft_wrap=True)
    raise typer.Exit(1 if failed else 0)


def dashboards(
    folder: Annotated[Path, typer.Argument(help="Made when missing", file_okay=False)],
    webhook: Annotated[
        str | None, typer.Option("--webhook", help="URL that Alertmanager tells; nobody if unset")
    ] = None,
) -> None:
    """Write the files of Grafana, Prometheus and Alertmanager over what assay exports here."""
    from stores.dashboards import LOCAL, TARGETS_PATH, write_dashboards

    for path in write_dashboards(folder, LOCAL._replace(webhook=webhook)):
        out.print(path, soft_wrap=True)
    out.print(
        "prometheus --config.file prometheus.yml; alertmanager --config.file alertmanager.yml"
    )
    out.print("Import grafana-assay.json in Grafana, or use the two provisioning files")
    out.print(
        f"Prometheus reads /metrics of the admin service {LOCAL.platform}, of the gateway "
        f"{LOCAL.routers[0]} and of every service that {LOCAL.platform}{TARGETS_PATH} lists, while "
        "`assay up` runs."
    )


def incidents_table(table: Alerts, found: Sequence[Incident]) -> Table:
    """Incidents with their state and who was told."""
    shown = Table(title="Incidents, newest first (UTC)", title_justify="left", show_lines=True)
    for name, share in (("Opened", 1), ("State", 1), ("Incident", 5), ("Told", 1)):
        shown.add_column(name, overflow="fold", ratio=share)
    for incident in found:
        times = f", seen {incident.count} times" if incident.count > 1 else ""
        shown.add_row(
            f"{incident.opened_at:%m-%d %H:%M}",
            _state(incident),
            escape(
                f"{incident.kind} {incident.subject} ({incident.severity}{times})\n"
                f"{shorten(incident.message, 200, placeholder=' ...')}\n{incident.id}"
            ),
            "muted" if incident.muted else _told(table.deliveries(incident.id)),
            style=STYLES[incident.severity] if incident.closed_at is None else "",
        )
    return shown


def _state(incident: Incident) -> str:
    if incident.closed_at is None:
        return "open"
    happened = incident.closed_at == incident.opened_at
    return "happened" if happened else f"closed\n{incident.closed_at:%m-%d %H:%M}"


def _told(deliveries: Sequence[Delivery]) -> str:
    """Notifiers with what became of the message."""
    words = []
    for one in deliveries:
        state = "given up" if one.failed_at else f"try {one.tries}" if one.tries else "waits"
        words.append(f"{one.notifier}: {'yes' if one.delivered_at else state}")
    return ", ".join(words) or "nobody"


def _test_report() -> Report:
    from models.contracts.incidents import Observation
    from stores.alert_rows import incident_of
    from stores.notify import Report
    from stores.reports.incident import render

    seen = Observation(
        kind="test", subject="assay alerts-test", message="A test: alerts reach you this way."
    )
    incident = incident_of(seen, datetime.now(UTC))
    return Report(incident, render(incident), ())
