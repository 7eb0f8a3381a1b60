"""Gathers what a rollout's page shows, from the ledger and the tally; it draws nothing itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.contracts.product import ModelProduct
from models.contracts.rollout import RolloutStep
from stores import rollout_journal
from stores.home import Home
from stores.ledger import Ledger, LedgerError

if TYPE_CHECKING:
    from stores.reports.rollout_page import RolloutData

REPORT = "report.html"


def gather(product: ModelProduct, home: Home, rollout_id: str | None = None) -> RolloutData:
    """Everything of one rollout, as it is now.

    Args:
        product: Whose.
        home: Where everything is.
        rollout_id: None: the newest.

    Raises:
        LedgerError: There is none.
    """
    from stores.reports.rollout_page import RolloutData

    ledger = Ledger(home.ledger(product))
    newest = ledger.rollout_step()
    name = rollout_id or (newest.rollout_id if newest else "")
    steps = [(e.at, RolloutStep.model_validate(e.body)) for e in ledger.rollout_entries(name)]
    if not steps or (plan := steps[0][1].plan) is None:
        raise LedgerError(f"{product.key}: there is no rollout {name}".rstrip())
    tally = rollout_journal.load_tally(home, product, name)
    return RolloutData(product, ledger.now(), steps, plan, tally)


def write_report(product: ModelProduct, home: Home, rollout_id: str) -> Path:
    """The page as a file beside the journal."""
    from stores.reports.rollout_page import write_page

    path = rollout_journal.folder(home, product, rollout_id) / REPORT
    write_page(path, gather(product, home, rollout_id))
    return path
