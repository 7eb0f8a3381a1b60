"""Is the plan what really happens? Reasons why a rollout cannot start or must stop. Pure.

Belongs here: the share that was served against the weight, keys, gateways. Does not belong here:
asking the gateways (the controller), what the units say of the challenger (``decide``).
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from models.contracts.rollout import Tally
from models.core.rollouts.fold import RECENT_KEYS

#: So many keys must be expected on the challenger, or a share of keys is no share of units.
KEYS_OF_CHALLENGER = 20
#: Deviations of the share that chance does not give, and what is let pass beyond them.
DEVIATIONS, SLACK = 4.5, 0.01
#: Units from which on the gateways' own counters must tell the same share.
COUNTED_UNITS = 1_000


class Share(NamedTuple):
    """What was served since the weight is what it is.

    Attributes:
        keys: Equally heavy keys that would make the share vary as much as these do.
    """

    weight: float
    units: int
    challenger: int
    keys: float

    @property
    def value(self) -> float | None:
        """The challenger's share; None before any unit."""
        return self.challenger / self.units if self.units else None


class Routes(NamedTuple):
    """What the controller saw of the way to the releases.

    Attributes:
        acknowledged: Whether a live gateway follows the newest table.
        behind: Gateways that follow an older one.
        direct: Rows a service answered that came past the gateway.
        golden: What is wrong with the challenger's golden requests, if anything.
        told: The challenger's share by the gateways' own counters; None where unknown.
    """

    acknowledged: bool = True
    behind: tuple[str, ...] = ()
    direct: int = 0
    golden: str | None = None
    told: float | None = None


def share(tally: Tally) -> Share:
    """What the journal says was served in the present stage."""
    stage = tally.stage
    return Share(stage.weight, stage.units, stage.challenger, _effective(stage.keys, stage.units))


def startable(weight: float, keys: int | None, routes: Routes) -> str | None:
    """Why a rollout must be refused, or None.

    Args:
        weight: Of its first stage.
        keys: Distinct keys of the last day; None where nobody counted: the running rollout will.
        routes: As the challenger stands by, before it gets traffic.
    """
    if routes.golden:
        return f"the challenger does not answer its golden requests: {routes.golden}"
    if reason := _routed(routes):
        return reason
    if weight > 0 and keys is not None and keys < KEYS_OF_CHALLENGER / weight:
        return _too_few_keys(keys, weight)
    return None


def enforced(seen: Share, routes: Routes) -> str | None:
    """Why a running rollout is not what the plan says, or None."""
    if reason := _routed(routes):
        return reason
    if seen.value is None:
        return None
    enough = seen.weight == 0 or seen.keys >= KEYS_OF_CHALLENGER / seen.weight
    if not enough:
        many = seen.units >= RECENT_KEYS
        return _too_few_keys(seen.keys, seen.weight) if many else None
    room = DEVIATIONS * math.sqrt(seen.weight * (1 - seen.weight) / seen.keys) + SLACK
    if abs(seen.value - seen.weight) > room:
        return f"the challenger answered {seen.value:.1%} of {seen.units:,}, not {seen.weight:.1%}"
    counted = routes.told if seen.units >= COUNTED_UNITS else None
    # the journal is some seconds behind: they tell of the same stage, not of the same requests
    if counted is not None and abs(counted - seen.value) > room:
        return f"the gateways count {counted:.1%} for the challenger, the journal {seen.value:.1%}"
    return None


def _routed(routes: Routes) -> str | None:
    if not routes.acknowledged:
        return "no live gateway follows the routing table; start one with `assay up`"
    if routes.behind:
        return f"gateways {', '.join(routes.behind)} follow an older table; restart them"
    if routes.direct:
        return (
            f"{routes.direct} rows came to a service past the gateway; send clients to the gateway"
        )
    return None


def _too_few_keys(keys: float, weight: float) -> str:
    return (
        f"{keys:.0f} keys cannot give a share of {weight:.1%}: {KEYS_OF_CHALLENGER / weight:.0f} "
        "are needed; send x-assay-key, or take a larger weight"
    )


def _effective(keys: tuple[str, ...], units: int) -> float:
    """1 over the chance that two units have one key, for the mean of ``units`` units.

    The share of N units varies by w (1 - w) (c + (1 - c) / N), c the chance that two units share
    their key, which is estimated without bias from the newest keys.
    """
    n = len(keys)
    if not units:
        return 0.0
    pairs = n * (n - 1)
    same = sum(k * (k - 1) for k in Counter(keys).values()) / pairs if pairs else 0.0
    return 1 / (same + (1 - same) / units)
