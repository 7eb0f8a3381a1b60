"""One text model in every form: rows per second, and what INT8 costs in accuracy.

    python -m benchmarks.text_inference [--rounds 5] [--threads 2] [--compile]
    python -m benchmarks.text_inference --accuracy [--qat] [--epochs 2] [--rows 12000]

Speed: the packaged backbone with a head of ten labels, and a student of half its layers, on random
tokens of a fixed length. Every form is asked in turn, round after round, so that a machine that
changes its speed hits all; a figure is the median over the rounds. ``int8`` is asked text by text,
as it is served: asked together, its scales are those of the whole batch, and a text's answer
depends on its neighbours (``int8 together`` shows what that would gain). ``int8 fixed`` has
constant scales and may be asked together. Reference points of other people: INT8 of BERT-base on
CPU 2 to 4 times eager PyTorch; DistilBERT 60 % faster than BERT, which is 1.6 times as fast, or 2.4
times when it is read as 60 % less time: both are printed for the student against the whole.
``exported`` is the program of ``torch.export`` (what TorchScript was), loaded from its file;
``--compile`` adds ``torch.compile``, which needs a C++ compiler and minutes where it serves.

Accuracy, on the data mirror that ``ASSAY_MIRROR`` names: fine-tuned on what teaches of one set
(``--data``, see ``text_anchors``), judged on the rest; the interval is of the paired difference,
from 2,000 bootstrap resamples of the texts, and the last line of a form is what the product's gate
would say of it. ``--qat`` goes on for one epoch, once as before and once feeling INT8, and adds
both with their forms: what the epoch brings is told apart from what the feeling brings.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from models.contracts.learner import FitContext, TextRows
from models.contracts.product import Trial
from models.core import bootstrap, metrics
from models.core.text import dispatch
from models.core.text.encoding import Tokens

SHAPES = tuple((batch, length) for length in (32, 128) for batch in (1, 8, 32))
BASELINE, STUDENT = "eager fp32", "student"
METRICS = ("roc_auc", "average_precision", "accuracy", "macro_f1")
RESAMPLES = 2000
#: The label judged of each set (see ``text_anchors``).
LABEL = {"offensive": "offensive", "hate": "hate", "jigsaw": "toxicity"}
#: A fifth of the rate that fitted what is gone on from, falling to nothing.
GOING_ON = {
    "model": "transformer", "max_epochs": 1, "learning_rate": 2e-5, "schedule": "cosine",
}  # fmt: skip

Ask = Callable[[Tokens, Tokens], Any]


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=0.5, help="per form, shape and round")
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    parser.add_argument("--accuracy", action="store_true", help="fit and judge instead")
    parser.add_argument("--data", choices=LABEL, default="jigsaw")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rows", type=int, default=12_000, help="texts to fit on")
    parser.add_argument("--qat", action="store_true", help="with quantisation-aware training")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    if options.accuracy:
        print(accuracy(options.data, options.epochs, options.rows, options.threads, options.qat))
    else:
        print(speed(options.rounds, options.seconds, options.threads, options.compile))


def speed(rounds: int, seconds: float, threads: int, compiled: bool) -> str:
    """A table of rows per second, and of ratios to the baseline."""
    asks = forms(threads, compiled)
    taken: dict[tuple[str, tuple[int, int]], list[float]] = {}
    for number in range(rounds):
        for shape in SHAPES:
            for name, ask in asks.items():
                taken.setdefault((name, shape), []).append(one(ask, shape, seconds))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    found = {key: median(values) for key, values in taken.items()}
    to_base = {(name, shape): value / found[BASELINE, shape]
               for (name, shape), value in found.items()}  # fmt: skip
    faster = {(name, shape): found[f"{STUDENT} {name}", shape] / found[name, shape]
              for name in asks if f"{STUDENT} {name}" in asks for shape in SHAPES}  # fmt: skip
    short = list(dict.fromkeys(name for name, _ in faster))
    saved = {key: 1.0 - 1.0 / value for key, value in faster.items()}
    return "\n\n".join([
        table("rows/s", asks, found), table(f"times {BASELINE}", asks, to_base),
        table(f"{STUDENT}: times as fast", short, faster),
        table(f"{STUDENT}: less time", short, saved),
    ])  # fmt: skip


def one(ask: Ask, shape: tuple[int, int], seconds: float) -> float:
    """Rows per second of one form on one shape, for a while."""
    batch, length = shape
    ids = np.random.default_rng(0).integers(1000, 20_000, (batch, length))
    mask = np.ones_like(ids)
    ask(ids, mask)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        ask(ids, mask)
        count += 1
    return count * batch / (time.perf_counter() - began)


def forms(threads: int, compiled: bool) -> dict[str, Ask]:
    """Everything that is compared, by name."""
    import copy

    import torch

    from models.core.text import backbone, onnx_export, onnx_fixed
    from models.core.text.network import Classifier, forward
    from models.core.text.onnx_form import OnnxNetwork
    from models.core.text.saved import PROBE

    encoder, encoding = backbone.load("minilm", 128)
    whole = Classifier(encoder, "mean", 0.1, 10).eval()
    student = copy.deepcopy(whole)
    backbone.keep_layers(student.encoder, 3)
    asks: dict[str, Ask] = {}
    for prefix, module in (("", whole), (f"{STUDENT} ", student)):
        graph = onnx_export.graph_of(module)
        small = onnx_export.dynamic_int8(graph)
        fixed = onnx_fixed.fixed_int8(small, encoding, PROBE)
        half = copy.deepcopy(module).to(torch.bfloat16)
        asks |= {
            f"{prefix}eager fp32": lambda i, m, module=module: forward(module, i, m),
            f"{prefix}eager bf16": lambda i, m, half=half: forward(half, i, m),
            f"{prefix}onnx fp32": OnnxNetwork(graph, 10, 32, threads).run,
            f"{prefix}int8": alone(OnnxNetwork(small, 10, 1, threads)),
            f"{prefix}int8 together": OnnxNetwork(small, 10, 32, threads).run,
            f"{prefix}int8 fixed": OnnxNetwork(fixed, 10, 32, threads).run,
        }
    program = exported(whole)
    asks["exported"] = lambda ids, mask: forward(program, ids, mask)
    if compiled:
        faster = torch.compile(whole, dynamic=True)
        asks["compiled"] = lambda ids, mask: forward(faster, ids, mask)
    return asks


def exported(module: Any) -> Any:
    """The program of ``torch.export`` of a network, through its file; any batch, any length."""
    import io

    import torch

    ids = torch.ones((2, 8), dtype=torch.int64)
    shape = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("length", min=2, max=128)}
    with torch.no_grad():
        program = torch.export.export(module, (ids, ids), dynamic_shapes=(shape, shape))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file).module()


def alone(network: Any) -> Ask:
    """Asks text by text, as a network whose batch is 1 is served."""
    return lambda ids, mask: [network.run(ids[i : i + 1], mask[i : i + 1]) for i in range(len(ids))]


def table(title: str, names: Iterable[str], values: Mapping[Any, float]) -> str:
    """One line per form, one column per shape."""
    heading = f"{title:<25}" + "".join(f"{f'{b} x {s}':>10}" for b, s in SHAPES)
    lines = [
        f"{name:<25}" + "".join(f"{values[name, shape]:>10.2f}" for shape in SHAPES)
        for name in names
    ]
    return "\n".join([heading, *lines])


def accuracy(data: str, epochs: int, rows: int, threads: int, aware: bool) -> str:
    """Metrics of the fitted model and of its forms, and the paired differences."""
    train, texts, labels = judged(data)
    params = {
        "model": "transformer", "max_length": 64, "max_epochs": epochs, "patience": epochs,
        "schedule": "cosine", "warmup": 0.1, "max_rows": rows,
    }  # fmt: skip
    told = FitContext(say=lambda line: print(line, file=sys.stderr))
    fitted = dispatch.fit(Trial(name="minilm", params=params), train, told, ())
    bases = {"minilm": fitted}
    for precision in ("fp32", "int8", "int8_fixed", "int8_static"):
        bases[precision] = form("minilm", precision, threads, train, told._replace(bases=bases))
    small: Any = bases["int8"]
    bases["int8 together"] = replace(small, network=replace(small.network, batch=32))
    for name in ("further", "qat") if aware else ():
        more = {**GOING_ON, "quantisation_aware": name == "qat", "max_rows": rows}
        trial = Trial(name=name, params=more, after=("minilm",))
        bases[name] = dispatch.fit(trial, train, told._replace(bases=bases), ())
        bases[f"{name} int8"] = form(name, "int8", threads, train, told._replace(bases=bases))
    scores = {name: model.predict(texts)[:, 0] for name, model in bases.items()}
    return compared(labels, scores)


def judged(data: str) -> tuple[TextRows, tuple[str, ...], Any]:
    """What teaches one label of a set of the mirror, and the texts and labels that judge."""
    from assets.sources import comments_mirror
    from benchmarks.text_anchors import TASKS

    if "ASSAY_MIRROR" not in os.environ:
        raise SystemExit("set ASSAY_MIRROR to the folder of the data mirror")
    folder = Path(os.environ["ASSAY_MIRROR"])
    task = TASKS[data]([folder / name for name, _ in comments_mirror.MIRROR_FILES])
    names = task.train.names
    place = names.index(LABEL[data])
    train = TextRows(task.train.texts, task.train.labels[:, [place]], names[place : place + 1])
    return train, task.texts, task.labels[:, place]


def form(of: str, precision: str, threads: int, train: TextRows, context: FitContext) -> Any:
    """A fitted model in another form."""
    asked = {"model": "onnx", "precision": precision, "threads": threads}
    return dispatch.fit(
        Trial(name=precision, params=asked, after=(of,), form=True), train, context, ()
    )


def compared(labels: Any, scores: Mapping[str, Any]) -> str:
    """One line per model: its metrics, then what it differs by from the first, with intervals."""
    resamples = bootstrap.counts(len(labels), RESAMPLES)
    drawn = {
        name: bootstrap.replicate_all(METRICS, labels, found, resamples)
        for name, found in scores.items()
    }
    first = next(iter(scores))
    lines = [f"{len(labels)} test texts; differences to {first} with 95 % intervals"]
    for name, found in scores.items():
        for metric in METRICS:
            value = metrics.compute(metric, labels, found, 0.5)
            line = f"{name:<14}{metric:<20}{value:.4f}"
            if name != first:
                off = value - metrics.compute(metric, labels, scores[first], 0.5)
                paired = drawn[name][metric] - drawn[first][metric]
                low, high = bootstrap.percentile_interval(paired, 0.025)
                line += f"  {off:+.4f} ({low:+.4f} to {high:+.4f})"
            lines.append(line)
        if name != first:
            lines.append(f"{name:<14}{verdict(labels, scores, drawn, (name, first))}")
    return "\n".join(lines)


def verdict(labels: Any, scores: Any, drawn: Any, which: tuple[str, str]) -> str:
    """What the product's gate would say of a form on ROC-AUC: is it shown to be no worse?"""
    from models.core.forms import non_inferiority
    from models.moderation.text_toxicity.product import PRODUCT

    gate, metric = PRODUCT.gate, "roc_auc"
    errors = [1 - metrics.compute(metric, labels, scores[name], 0.5) for name in which]
    pairs = bootstrap.PairedErrors(*(1 - drawn[name][metric] for name in which))
    found = non_inferiority(metric, *errors, pairs, gate.form_margin, alpha=gate.alpha)
    word = "may serve" if found.p_value <= gate.alpha else "may not serve"
    return (
        f"gate: error {found.effect:+.1%} ({found.low:+.1%} to {found.high:+.1%}, margin "
        f"{gate.form_margin:.0%}), p {found.p_value:.4f}: {word} in place of {which[1]}"
    )


if __name__ == "__main__":
    main()
