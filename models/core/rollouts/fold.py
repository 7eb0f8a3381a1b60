"""From journal lines to counts: what a rollout has seen so far. Pure.

Belongs here: which request counts for which rule, and the state that waits for a champion's unit or
an outcome. Does not belong here: reading files (``stores.rollout_journal``), verdicts (``decide``).

Requests that both releases saw are compared one by one. The others are not the same requests, so
each unit of the rarer side meets the mean of the *next* few of the other side: a trend in the
traffic hits both. Of these only the first unit of a key counts: a key stays with its release, so
its later units are no new draw, and a heavy key would pass for a difference between releases.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from models.contracts.monitoring import Recalibration
from models.contracts.rollout import (
    Block,
    Exposure,
    Open,
    RolloutPlan,
    RuleName,
    Seen,
    Stage,
    Tally,
    Variant,
)
from models.core.journal import Line
from models.core.rollouts import betting, units

#: The champion's units that say what slow is: this factor over their p95, and one millisecond.
LATENCY_UNITS, LATENCY_FACTOR, LATENCY_MS = 200, 1.25, 1.0
#: Units of the commoner side in a block, at most.
LARGEST_BLOCK = 16
#: Bounds of what is remembered; the oldest goes, whatever it says.
MOST_OPEN, MOST_EARLY, MOST_WAITING = 10_000, 2_000, 1_000
#: Newest units whose keys are kept, and their length: ``enforce`` asks how many differ.
RECENT_KEYS, KEY_LENGTH = 2_000, 8
_MET_BITS = 2**20


def fold(
    tally: Tally,
    lines: Iterable[tuple[str, Line]],
    plan: RolloutPlan,
    recalibrations: Mapping[Variant, Recalibration],
) -> Tally:
    """Count lines that are not counted yet.

    Args:
        tally: So far.
        lines: Writer and line, each writer's in its order; those at or before its cursor are
            skipped, so that reading twice changes nothing.
        plan: Of the rollout.
        recalibrations: Of each release's profile, where it has one.
    """
    state = _Folding(tally, plan, recalibrations)
    for writer, line in lines:
        if line.number <= state.cursor.get(writer, 0):
            continue
        state.cursor[writer] = line.number
        if line.kind == "exposure":
            state.expose(Exposure.model_validate(line.body))
        elif line.kind == "outcome":
            state.learn(line.body)
    return state.tally()


def block_size(weight: float) -> int:
    """Units of the commoner side for each of the rarer."""
    rarer = min(weight, 1 - weight)
    return min(LARGEST_BLOCK, max(1, round((1 - rarer) / rarer)))


class _Folding:
    """A tally that can be added to."""

    def __init__(
        self, tally: Tally, plan: RolloutPlan, recalibrations: Mapping[Variant, Recalibration]
    ) -> None:
        self._before, self._plan, self._recalibrations = tally, plan, recalibrations
        self._rules = frozenset(limit.rule for limit in plan.limits)
        self.cursor = dict(tally.cursor)
        self._counts = {rule: list(counts) for rule, counts in tally.counts.items()}
        self._answered, self._units, self._stage = dict(tally.answered), tally.units, tally.stage
        self._keys = list(tally.stage.keys)
        self._slow, self._sample = tally.latency_limit_ms, list(tally.latency_sample)
        self._blocks, self._met = dict(tally.blocks), _bits(tally.met)
        self._open, self._events = dict(tally.open), dict(tally.events)
        self._early, self._outcome_unit = dict(tally.early), tally.outcome_unit

    def tally(self) -> Tally:
        """What there is by now."""
        return Tally(
            rollout_id=self._before.rollout_id,
            cursor=self.cursor,
            counts={rule: tuple(counts) for rule, counts in self._counts.items()},
            answered=self._answered,
            units=self._units,
            stage=self._stage.model_copy(update={"keys": tuple(self._keys[-RECENT_KEYS:])}),
            latency_limit_ms=self._slow,
            latency_sample=tuple(self._sample),
            blocks=self._blocks,
            met=b64encode(self._met).decode() if self._met is not None else "",
            open=self._open,
            events=self._events,
            early=self._early,
            outcome_unit=self._outcome_unit,
        )

    def expose(self, exposure: Exposure) -> None:
        """Count a request."""
        if exposure.rollout_id != self._before.rollout_id:
            return
        shown = exposure.challenger is not None
        self._units += shown
        warm = not shown or self._units > self._plan.warm_units
        self._share(exposure, shown=shown)
        if exposure.champion is not None and exposure.challenger is not None:
            found = units.differences(exposure, self._slow, self._recalibrations, warm=warm)
            for rule, value in found.items():
                self._add(rule, value, exposure.request_id)
        else:
            self._alone(exposure, warm=warm)
        self._time(exposure)
        if warm:
            self._remember(exposure)

    def learn(self, body: Mapping[str, Any]) -> None:
        """Count an outcome, now or when its exposure comes. Of several the first one counts."""
        name, event = body["prediction_id"], body["event_id"]
        tenant, label = body.get("tenant"), int(body["label"])
        found = self._open.get(name or self._events.get(event, ""))
        if found is None:
            self._early[name or f"event {event}"] = (tenant, label)
            _drop_oldest(self._early, MOST_EARLY)
        elif tenant in {None, found.tenant}:
            self._close(name or self._events[event], found, label)

    def _share(self, exposure: Exposure, *, shown: bool) -> None:
        """Who answered, since the weight is what it is; lines of the stage before say nothing."""
        if exposure.served is not None:
            self._answered[exposure.served] = self._answered.get(exposure.served, 0) + 1
        if exposure.weight > self._stage.weight:
            self._stage, self._keys = Stage(weight=exposure.weight), []
        if exposure.weight != self._stage.weight:
            return
        stage = self._stage
        counts = exposure.drawn and exposure.served is not None
        if counts:
            self._keys.append(exposure.key[:KEY_LENGTH])
        self._stage = Stage(
            weight=stage.weight,
            units=stage.units + counts,
            challenger=stage.challenger + (counts and exposure.served == "challenger"),
            seen=stage.seen + shown,
        )

    def _time(self, exposure: Exposure) -> None:
        """Learn from the champion's first answers what slow is, then never again."""
        champion = exposure.champion
        if self._slow is not None or exposure.served != "champion" or champion is None:
            return
        self._sample.append(champion.ms)
        if len(self._sample) >= LATENCY_UNITS:
            p95 = sorted(self._sample)[int(0.95 * LATENCY_UNITS)]
            self._slow, self._sample = LATENCY_FACTOR * p95 + LATENCY_MS, []

    def _alone(self, exposure: Exposure, *, warm: bool) -> None:
        """A request that only its own release saw."""
        seen = getattr(exposure, exposure.assigned)
        if seen is not None and exposure.drawn:
            for rule, value in units.single(seen, self._slow, warm=warm).items():
                self._offer(rule, exposure.assigned, value, exposure)

    def _remember(self, exposure: Exposure) -> None:
        """Keep what an outcome would judge."""
        if exposure.served is None or not (rows := getattr(exposure, exposure.served).rows):
            return
        row = int(betting.uniform(f"row {exposure.request_id}") * len(rows))
        name, event, tenant = rows[row][0], exposure.events[row], exposure.tenants[row]
        champion, challenger = (_decision(seen, row) for seen in
                                (exposure.champion, exposure.challenger))  # fmt: skip
        paired = champion is not None and challenger is not None
        ranked = not isinstance(rows[row][2], bool)
        own = exposure.drawn and exposure.served == exposure.assigned
        if not paired and not (own and (ranked or self._plan.mirror < 1)):
            return
        waiting = Open(
            token=exposure.request_id, key=exposure.key, tenant=tenant, weight=exposure.weight,
            event=event, champion=champion, challenger=challenger, served=exposure.served,
        )  # fmt: skip
        for known in (name, f"event {event}"):
            told, label = self._early.get(known, (None, -1))
            if label >= 0 and told in {None, tenant}:
                del self._early[known]
                self._judge(waiting, label)
                return
        self._open[name] = waiting
        if event is not None:
            self._events.setdefault(event, name)
        if len(self._open) > MOST_OPEN:
            self._forget(next(iter(self._open)))

    def _close(self, name: str, found: Open, label: int) -> None:
        self._forget(name)
        self._judge(found, label)

    def _forget(self, name: str) -> None:
        gone = self._open.pop(name)
        if gone.event is not None and self._events.get(gone.event) == name:
            del self._events[gone.event]

    def _judge(self, found: Open, label: int) -> None:
        self._outcome_unit = self._units
        if found.champion is not None and found.challenger is not None:
            value = units.wrong(found.challenger, label) - units.wrong(found.champion, label)
            self._add("realised", value, found.token)
            return
        decision = found.champion if found.served == "champion" else found.challenger
        # of a ranking: the outcome says whether something of the list was taken
        value = 1.0 - label if decision is None else units.wrong(decision, label)
        self._offer("realised", found.served, value, found)

    def _offer(self, rule: RuleName, variant: Variant, value: float, unit: Exposure | Open) -> None:
        """A unit of one side on its way into a difference, see the module's docstring."""
        if not 0 < unit.weight < 1 or rule not in self._rules:
            return
        single: Variant = "challenger" if unit.weight <= 1 / 2 else "champion"
        block = self._blocks.get(rule)
        if block is None or block.single != single:
            block = Block(single=single)
        token = unit.request_id if isinstance(unit, Exposure) else unit.token
        if variant == single:
            if len(block.waiting) < MOST_WAITING and self._first(rule, unit.key):
                block = block.model_copy(update={"waiting": (*block.waiting, (value, token))})
        elif block.waiting and self._first(rule, unit.key):
            block = self._meet(rule, block, value, block_size(unit.weight))
        self._blocks[rule] = block

    def _meet(self, rule: RuleName, block: Block, value: float, size: int) -> Block:
        total, met = block.total + value, block.met + 1
        if met < size:
            return block.model_copy(update={"total": total, "met": met})
        alone, token = block.waiting[0]
        worse = alone - total / met
        self._add(rule, worse if block.single == "challenger" else -worse, token)
        return Block(single=block.single, waiting=block.waiting[1:])

    def _add(self, rule: RuleName, value: float, token: str) -> None:
        if rule in self._rules:
            counts = self._counts.setdefault(rule, [0] * len(betting.GRID))
            counts[betting.rounded(value, f"{rule} {token}")] += 1

    def _first(self, rule: RuleName, key: str) -> bool:
        """Whether this is a key's first unit.

        A field of bits: now and then a new key is taken for a known one, which favours nobody.
        """
        if self._met is None:
            self._met = bytearray(_MET_BITS // 8)
        byte, bit = divmod(int(betting.uniform(f"{rule} {key}") * _MET_BITS), 8)
        known = self._met[byte] >> bit & 1
        self._met[byte] |= 1 << bit
        return not known


def _decision(seen: Seen | None, row: int) -> bool | None:
    if seen is None or row >= len(seen.rows):
        return None
    said = seen.rows[row][2]
    return said if isinstance(said, bool) else None


def _bits(kept: str) -> bytearray | None:
    return bytearray(b64decode(kept)) if kept else None


def _drop_oldest(kept: dict[str, Any], most: int) -> None:
    while len(kept) > most:
        del kept[next(iter(kept))]
