"""How a product answers: the size of its containers, its batches, what it falls back to.

Field lists only. What a rollout of it looks like is ``models.contracts.rollout``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.contracts.base import Frozen
from models.contracts.rollout import RolloutPlan

#: Who answers when the champion cannot, in the order they are asked.
Rung = Literal["previous", "baseline", "rule"]


class Serving(Frozen):
    """How one container of the service is sized, and how it answers.

    Attributes:
        gpu: Graphics processors; one worker each.
        cores: Of the processor.
        memory_mb: Of the container.
        max_rows: Of one request.
        batch_rows: Of several requests, that a text model or a recommender is asked together.
        cache_s: Seconds for which what was said of a row is said again to who asks the same; 0:
            never.
        timeout_s: Of one answer.
        port: Of the service; 0: any.
        log_inputs: With ``hash`` no values are kept: drift and releases cannot be judged.
        fallback: See `Rung`; empty: a request whose champion fails gets 503.
        rollout: How a release earns its traffic after the gate; None: it serves at once.
    """

    gpu: int = Field(default=0, ge=0)
    cores: float = Field(default=1.0, gt=0)
    memory_mb: int = Field(default=1024, gt=0)
    max_rows: int = Field(default=1024, ge=1)
    batch_rows: int = Field(default=32, ge=1)
    cache_s: float = Field(default=0.0, ge=0)
    timeout_s: float = Field(default=10.0, gt=0)
    port: int = Field(default=0, ge=0, le=65535)
    log_inputs: Literal["values", "hash"] = "values"
    fallback: tuple[Rung, ...] = ("previous", "baseline", "rule")
    rollout: RolloutPlan | None = None
