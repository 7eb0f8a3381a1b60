"""The training loop: steps, schedules, early stopping, precision, what it says."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from models.contracts.learner import FitContext
from models.core.trainer import schedules
from models.core.trainer.config import TrainerConfig, config_from
from models.core.trainer.devices import device_of, half, moved
from models.core.trainer.history import Speed, Teller
from models.core.trainer.loop import TrainingError, train
from tests.unit.trainer_tasks import Regression, equal, one_thread

CONFIG = TrainerConfig(max_epochs=3, learning_rate=0.02, batch_size=4, precision="fp32")


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


def changed(**values: object) -> TrainerConfig:
    return TrainerConfig.model_validate({**CONFIG.model_dump(), **values})


def test_two_batches_accumulated_are_one_batch_of_twice_the_size() -> None:
    parts, one = Regression(batch=4, dropout=0.0), Regression(batch=8, dropout=0.0)
    first = train(parts, changed(accumulate=2))
    second = train(one, changed(batch_size=8))
    assert first.train_loss == pytest.approx(second.train_loss, rel=1e-5)
    for name, tensor in one.weights().items():
        torch.testing.assert_close(parts.weights()[name], tensor, rtol=1e-4, atol=1e-5)


def test_the_last_step_of_an_epoch_averages_the_batches_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """10 batches in steps of 4: the last gradient is the mean over 2 batches, not their sum / 4."""
    seen = gradients(monkeypatch)
    task = Regression(batch=4, dropout=0.0)
    first = {k: v.clone() for k, v in task.weights().items()}
    train(task, changed(max_epochs=1, accumulate=4, clip_norm=None, learning_rate=1e-12))
    assert len(seen) == 3
    task.module.load_state_dict(first)
    batches = list(task.batches(torch.Generator().manual_seed(0)))[8:]
    task.module.zero_grad()
    (sum(task.loss(batch) for batch in batches) / 2).backward()
    expected = torch.cat([weight.grad.flatten() for weight in task.module.parameters()])
    torch.testing.assert_close(seen[2], expected, rtol=1e-4, atol=1e-6)


def gradients(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What the optimizer is given in every step, in the order of the module's parameters."""
    seen: list[torch.Tensor] = []

    class Spy(schedules.AdamW):
        def step(self, closure: None = None) -> None:
            by_rank = [w.grad.flatten() for w in SPIED[0].parameters()]
            seen.append(torch.cat(by_rank).clone())
            super().step(closure)

    SPIED.clear()
    real = schedules.optimizer

    def spying(module: nn.Module, config: TrainerConfig) -> torch.optim.Optimizer:
        SPIED.append(module)
        monkeypatch.setattr(schedules, "AdamW", Spy)
        return real(module, config)

    monkeypatch.setattr(schedules, "optimizer", spying)
    return seen


SPIED: list[nn.Module] = []


def test_gradients_longer_than_the_clip_are_cut_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    free = gradients(monkeypatch)
    train(Regression(dropout=0.0), changed(clip_norm=None, max_epochs=1))
    assert float(free[0].norm()) > 1.0
    monkeypatch.undo()
    cut = gradients(monkeypatch)
    train(Regression(dropout=0.0), changed(clip_norm=0.5, max_epochs=1))
    assert float(cut[0].norm()) == pytest.approx(0.5, rel=1e-4)
    torch.testing.assert_close(cut[0], free[0] / free[0].norm() * 0.5, rtol=1e-4, atol=1e-6)


class Scripted(Regression):
    """Validation values as told; the weights at each are remembered."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values, self.seen = values, []

    def validate(self) -> float:
        assert not self.module.training
        assert not torch.is_grad_enabled()
        self.seen.append({k: v.clone() for k, v in self.weights().items()})
        return self.values[len(self.seen) - 1]


def test_early_stopping_keeps_the_best_epoch() -> None:
    task = Scripted([0.1, 0.5, 0.3, 0.5, 0.4, 0.9])
    history = train(task, changed(max_epochs=6, patience=3))
    assert history.stopped_early
    assert (history.epochs, history.best_epoch, history.best_value) == (5, 2, 0.5)
    assert equal(task.weights(), task.seen[1])
    assert not equal(task.weights(), task.seen[4])


def test_all_epochs_are_done_when_validation_improves() -> None:
    history = train(Scripted([0.1, 0.2, 0.3]), changed(patience=1))
    assert (history.epochs, history.stopped_early) == (3, False)


def test_a_plateau_halves_the_rate() -> None:
    """One bad epoch is borne, the second lowers the rate for the next ones."""
    history = train(Scripted([0.5, 0.4, 0.4, 0.6, 0.7]), changed(max_epochs=5, plateau_patience=1))
    assert history.learning_rates == (0.02, 0.02, 0.02, 0.01, 0.01)


def test_cosine_with_warmup_against_the_formula() -> None:
    rates = [schedules.cosine(step, 10, 2) for step in (0, 1, 2, 4, 6, 10)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, (1 + math.sqrt(0.5)) / 2, 0.5, 0.0])
    history = train(Regression(), changed(schedule="cosine"))  # 30 steps; 10, 20, 30 are done
    expected = [0.02 * (1 + math.cos(math.pi * done / 30)) / 2 for done in (10, 20, 30)]
    assert history.learning_rates == pytest.approx(expected)


def test_biases_and_norms_do_not_decay() -> None:
    task = Regression()
    task.module[0].bias.requires_grad = False
    decaying, rest = schedules.optimizer(task.module, CONFIG).param_groups
    assert [tuple(w.shape) for w in decaying["params"]] == [(8, 6), (1, 8)]
    assert [tuple(w.shape) for w in rest["params"]] == [(8,), (8,), (1,)]
    assert (decaying["weight_decay"], rest["weight_decay"]) == (0.01, 0.0)
    for weight in task.module.parameters():
        weight.requires_grad = False
    with pytest.raises(ValueError, match="no trainable weight"):
        schedules.optimizer(task.module, CONFIG)


def test_bf16_computes_in_half_the_digits_and_keeps_full_weights() -> None:
    task, full = Regression(dropout=0.0), Regression(dropout=0.0)
    history = train(task, changed(precision="bf16", max_epochs=5))
    exact = train(full, changed(precision="fp32", max_epochs=5))
    assert {tensor.dtype for tensor in task.weights().values()} == {torch.float32}
    assert history.train_loss != exact.train_loss
    assert history.train_loss == pytest.approx(exact.train_loss, rel=0.05)
    assert history.validation[-1] > history.validation[0]


def test_precision_and_device_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = device_of(changed(device="cpu"))
    assert cpu.type == "cpu"
    assert half(changed(precision="bf16"), cpu)
    for able in ({"avx512_bf16": True}, {"avx512_f": True}, {}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert half(changed(precision="auto"), cpu) == ("avx512_bf16" in able)
        assert not half(changed(precision="fp32"), cpu)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no GPU"):
            device_of(changed(device="cuda:0"))


def test_batches_of_any_shape_are_moved() -> None:
    batch = {"ids": torch.ones(2), "more": (torch.zeros(1), ["text"]), "speed": 3}
    found = moved(batch, torch.device("meta"))
    assert found["ids"].device.type == found["more"][0].device.type == "meta"
    assert (found["more"][1], found["speed"]) == (["text"], 3)


class Broken(Regression):
    """The third loss is not a number."""

    def loss(self, batch: object) -> torch.Tensor:
        return super().loss(batch) * (math.nan if self.calls == 3 else 1.0)


def test_a_loss_that_is_no_number_names_step_and_remedy() -> None:
    with pytest.raises(TrainingError, match=r"loss is nan in step 3 \(epoch 1\): try a lower"):
        train(Broken(), CONFIG)
    with pytest.raises(TrainingError, match="validation says inf after epoch 1"):
        train(Scripted([math.inf]), CONFIG)


def test_a_wrong_number_of_batches_is_an_error() -> None:
    task = Regression()
    task.batch_count = lambda: 11
    with pytest.raises(TrainingError, match="yields 10 batches and says 11"):
        train(task, CONFIG)


def test_curves_and_lines() -> None:
    points: list[tuple[str, int, float]] = []
    lines: list[str] = []
    context = FitContext(say=lines.append, curve=lambda *point: points.append(point))
    history = train(Regression(), CONFIG, context)
    assert [p for p in points if p[0] == "validation"] == [
        ("validation", epoch + 1, value) for epoch, value in enumerate(history.validation)
    ]
    assert {name for name, _, _ in points} == {"train_loss", "validation", "learning_rate"}
    assert lines[0].startswith("epoch 1/3, step 1/10: loss ")
    assert "rows/s, at most 0:00:" in lines[0]


def test_lines_are_rare() -> None:
    now, lines = [0.0], []
    teller = Teller(lines.append, lambda: now[0])
    for second in range(12):
        now[0] = float(second)
        teller.now_and_then(lambda second=second: f"at {second}")
    assert lines == ["at 0", "at 5", "at 10"]


def test_a_slow_epoch_says_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every step takes longer than the quiet time; a line per epoch ends it."""
    monkeypatch.setattr("models.core.trainer.history.QUIET_SECONDS", 0.0)
    lines: list[str] = []
    config = TrainerConfig(max_epochs=2, batch_size=1, device="cpu")
    train(Regression(batch=1), config, FitContext(say=lines.append))
    steps = [line.split(":")[0] for line in lines]
    assert len(steps) == 2 * (20 + 1)  # steps 1, 3, .. 39 of 40
    assert steps[:2] == ["epoch 1/2, step 1/40", "epoch 1/2, step 3/40"]


def test_speed_and_what_is_left() -> None:
    now = [0.0]
    speed = Speed(lambda: now[0])
    now[0], speed.steps = 10.0, 5
    assert (speed.rate(), speed.lap(), speed.lap()) == (0.5, 10.0, 0.0)
    assert speed.remaining(1900) == "at most 1:03:20 left"


def test_settings_are_found_among_the_learner_s_own() -> None:
    config = config_from({"max_epochs": 7, "model": "minilm"}, max_epochs=9, batch_size=64)
    assert (config.max_epochs, config.batch_size, config.patience) == (7, 64, 10)
    with pytest.raises(ValueError, match="precision"):
        config_from({"precision": "fp16"})
