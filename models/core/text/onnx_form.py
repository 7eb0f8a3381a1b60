"""A fitted network as ONNX, in fp32 or INT8: the same answers, sooner.

Belongs here: running an exported network, exporting one, making sure it is the same.
Does not belong here: whether it may serve (the gate). Running needs no torch; exporting does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models.contracts.base import Frozen
from models.contracts.learner import FitContext, TextPredictor, TextRows
from models.contracts.product import Trial
from models.core.text import saved
from models.core.text.encoding import Encoding, Floats, Tokens
from models.core.text.predictor import ONNX, NetworkText

Precision = Literal["fp32", "int8", "int8_fixed", "int8_static"]

_GRAPH_FILE, _RUN_FILE = "network.onnx", "run.json"
INPUTS, OUTPUT = ("ids", "mask"), "outputs"
#: Texts asked at once where an answer cannot depend on the others of its batch.
BATCH = 32
#: What ONNX Runtime would do that makes a text dearer: a sum and its norm as one operator, which is
#: not vectorised, takes seven times as long as the norm. Without, 20 tokens take 6 % less.
_SLOWER = ("SkipLayerNormFusion",)
#: Training texts on which a form is compared with its original.
COMPARED = 64


class FormError(Exception):
    """An export that does not answer as its original; it must not be used."""


class OnnxParams(Frozen):
    """Parameters of a form, whose original is the one trial of ``after``.

    Attributes:
        precision: ``fp32``; ``int8``: weights per channel, activations scaled text by text;
            ``int8_fixed``: activations in constant scales, so that texts may be asked together;
            ``int8_static``: the same by the quantiser's own calibration and operators.
        threads: Of one answer; 0 takes ``OMP_NUM_THREADS``, else every core.
        tolerance: Largest difference of a probability at which an fp32 form is still the same.
        calibration_rows: Training texts that fix constant scales.
    """

    model: str = ONNX
    precision: Precision = "fp32"
    threads: int = 0
    tolerance: float = 1e-4
    calibration_rows: int = 256


@dataclass(frozen=True)
class OnnxNetwork:
    """An exported network; a `models.core.text.predictor.Network`.

    Attributes:
        graph: The ONNX file.
        width: Outputs per text.
        batch: Texts it is asked at once. One for ``int8``: it scales activations over a whole
            batch, so that a text's answer would depend on its neighbours.
        threads: See ``OnnxParams``.
        spins: Whether its threads wait busily for each other while a text is computed, and only
            then. Two take 3.7 ms for a text of 20 tokens so, instead of 5.0 on one and 5.1 of two
            that sleep; where another process has one of the cores, 8.4 instead of 5.5 and 6.8.
    """

    graph: bytes
    width: int
    batch: int
    threads: int = 0
    spins: bool = False

    @cached_property
    def session(self) -> Any:
        """The graph, ready to run on the CPU."""
        import onnxruntime  # type: ignore[import-untyped]  # ships no types

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads or _cores()
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.spins)))
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(
            self.graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER
        )

    def run(self, ids: Tokens, mask: Tokens) -> Floats:
        """Outputs of shape (b, width)."""
        answer: Floats = self.session.run([OUTPUT], dict(zip(INPUTS, (ids, mask), strict=True)))[0]
        return answer

    def save(self, folder: Path) -> None:
        """Write ``network.onnx`` and how it is run."""
        import json

        (folder / _GRAPH_FILE).write_bytes(self.graph)
        how = {"width": self.width, "batch": self.batch, "threads": self.threads}
        (folder / _RUN_FILE).write_text(json.dumps(how))

    @classmethod
    def load(cls, folder: Path) -> OnnxNetwork:
        """What ``save`` wrote."""
        import json

        how = json.loads((folder / _RUN_FILE).read_text())
        return cls((folder / _GRAPH_FILE).read_bytes(), **how)


def _cores() -> int:
    """Cores of this process, or fewer where torch is told fewer: one word for both runtimes."""
    cores, told = len(os.sched_getaffinity(0)), os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(told)) if told.isdecimal() and int(told) else cores


def fit(trial: Trial, rows: TextRows, context: FitContext) -> TextPredictor:
    """The one model of ``trial.after`` in another form.

    Args:
        trial: With ``OnnxParams`` as its params.
        rows: Training texts: calibration, and the comparison with the original.
        context: Holds the original.

    Returns:
        A predictor of the same kind of answer; how far it is from its original is kept in its
        notes as ``parity``, the largest difference of a probability.

    Raises:
        FormError: An fp32 form differs from its original by more than the tolerance.
        ValueError: The original is not fitted, or has no network to export.
        pydantic.ValidationError: A parameter that a form does not have.
    """
    params = OnnxParams.model_validate(trial.params)
    if len(trial.after) != 1 or trial.after[0] not in context.bases:
        raise ValueError(f"trial {trial.name!r} needs its one original, fitted: name it in after")
    original = context.bases[trial.after[0]]
    texts = spread(rows.texts, params.calibration_rows)
    if isinstance(original, NetworkText):
        form: Any = replace(
            original, kind=ONNX,
            network=exported(original.network, original.encoding, params, texts),
        )  # fmt: skip
    elif hasattr(original, "in_form"):
        form = original.in_form(
            lambda network, encoding: exported(network, encoding, params, texts)
        )
    else:
        raise ValueError(
            f"trial {trial.after[0]!r} is a {type(original).__name__}, which has no network to "
            "export: only a transformer, a student or an ensemble of them has forms"
        )
    found = parity(original, form, spread(rows.texts, COMPARED))
    if params.precision == "fp32" and not found <= params.tolerance:
        raise FormError(
            f"trial {trial.name!r} answers up to {found:.2g} off its original, more than "
            f"{params.tolerance:g}: the export is wrong; do not serve it, report the backbone"
        )
    context.say(f"{trial.name}: at most {found:.2g} off {trial.after[0]}")
    made = {"of": trial.after[0], "precision": params.precision, "parity": found}
    if params.precision == "int8_fixed":
        made["tolerance"] = saved.ROUNDING
    named: TextPredictor = replace(form, notes={**form.notes, "form": made})
    return named


def exported(network: Any, encoding: Encoding, params: OnnxParams, texts: Sequence[str]) -> Any:
    """A network of torch as an `OnnxNetwork`; needs torch.

    Raises:
        ValueError: It is none of torch's.
    """
    from models.core.text import onnx_export, onnx_fixed

    module = getattr(network, "module", None)
    if module is None:
        raise ValueError("the original is itself exported: name the fitted trial in after")
    graph = onnx_export.graph_of(module)
    match params.precision:
        case "int8":
            graph = onnx_export.dynamic_int8(graph)
        case "int8_fixed":
            graph = onnx_fixed.fixed_int8(onnx_export.dynamic_int8(graph), encoding, texts)
        case "int8_static":
            graph = onnx_export.static_int8(graph, encoding, texts)
    batch = 1 if params.precision == "int8" else BATCH
    return OnnxNetwork(graph, network.width, batch, params.threads)


def parity(original: TextPredictor, form: TextPredictor, texts: Sequence[str]) -> float:
    """Largest difference of a probability, on texts and on the probe.

    Raises:
        FormError: They answer different labels.
    """
    asked = (*texts, *saved.PROBE)
    theirs, ours = original.predict(asked), form.predict(asked)
    if (np.isnan(theirs) != np.isnan(ours)).any():
        raise FormError("the form answers other labels than its original; do not serve it")
    return float(np.nanmax(np.abs(theirs - ours)))


def spread(texts: Sequence[str], count: int) -> tuple[str, ...]:
    """At most ``count`` of the texts, evenly over time."""
    places = np.linspace(0, len(texts) - 1, min(count, len(texts))).astype(int)
    return tuple(texts[i] for i in places)
