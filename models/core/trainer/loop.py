"""The training loop: epochs, steps, validation, early stopping, going on after a kill.

Belongs here: the order of things. Does not belong here: what is trained (a ``Task``), settings,
schedules, losses, files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from models.contracts.learner import FitContext
from models.core.trainer import devices, distributed, randomness, schedules, state
from models.core.trainer.checkpoint import Checkpoint
from models.core.trainer.config import TrainerConfig
from models.core.trainer.distributed import World
from models.core.trainer.files import Files
from models.core.trainer.history import LINES, History, Speed, Teller, progress


class Task(Protocol):
    """What is trained."""

    @property
    def module(self) -> nn.Module:
        """Its weights are trained; the trainer moves it to the device."""
        ...

    def batches(self, generator: torch.Generator) -> Iterable[Any]:
        """One epoch of training batches, made when asked for.

        A pure function of the generator's state: shuffling, negatives and augmentation all draw
        from it. An interrupted epoch is made again and its first batches are skipped.
        """
        ...

    def batch_count(self) -> int:
        """Batches of an epoch, at least 1."""
        ...

    def loss(self, batch: Any) -> Tensor:
        """Mean loss of one batch, already on the module's device."""
        ...

    def validate(self) -> float:
        """How good the module is now; higher is better.

        It is in eval mode, without gradients, and computes in fp32, as it will be served.
        """
        ...


#: Nobody to tell, nothing kept.
_ALONE = FitContext()


class TrainingError(Exception):
    """Training cannot go on; the message says at which step and what to try."""


def train(task: Task, config: TrainerConfig, context: FitContext = _ALONE) -> History:
    """Train ``task.module`` in place and leave the best weights of all epochs in it.

    With ``context.folder`` a killed training goes on at its last checkpoint and ends in the same
    weights, bit for bit on a CPU, as one that was never killed. The folder belongs to one fit on
    one data set. A checkpoint of other settings or another module is not gone on from: it is set
    aside as ``refused.safetensors``, ``context.say`` tells why, and training starts anew, because
    a nightly run must not stop at what an older version left behind. After the end the folder
    still answers: the same call returns at once with the best weights.

    Args:
        task: The module and its data. Its random numbers come from the generator it is given or
            from the global ones, which are seeded here and left as they were.
        config: Settings.
        context: Folder of checkpoints, progress, curves.

    Returns:
        What happened.

    Raises:
        TrainingError: The loss, a gradient or a validation value is not a finite number, or the
            task yields another number of batches than it says.
        ValueError: The module has no trainable weight, or the device is not there.
    """
    with distributed.joined() as world, randomness.seeded(config.seed + world.rank):
        training = _Training(task, config, context, world)
        training.resume()
        while not training.finished:
            training.epoch()
        return training.result()


class _Training:
    """One training under way. Every process has one; they differ in their batches alone."""

    def __init__(
        self, task: Task, config: TrainerConfig, context: FitContext, world: World
    ) -> None:
        self.task, self.config, self.context, self.world = task, config, context, world
        self.device = devices.device_of(config, world.local_rank)
        self.half = devices.half(config, self.device)
        self.module = task.module.to(self.device)
        self.weights = list(self.module.parameters())
        self.group = config.accumulate * world.size
        self.steps = math.ceil(task.batch_count() / self.group)
        self.adam = schedules.optimizer(self.module, config)
        self.schedule = schedules.schedule(self.adam, config, self.steps * config.max_epochs)
        self.loss = distributed.parallel(distributed.LossModule(task), world)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.epoch_began = self.generator.get_state()
        self.random: dict[str, Tensor] | None = None
        self.at = state.Progress()
        self.best: dict[str, Tensor] = {}
        self.resumed_from: int | None = None
        self.teller = Teller(context.say if world.rank == 0 else lambda _: None)
        self.speed = Speed()
        batches = task.batch_count()
        identity = state.identity(config, self.module, batches, world.size)
        self.files = Files(context.folder, identity, world)

    @property
    def finished(self) -> bool:
        return self.at.epoch >= self.config.max_epochs or self.at.stalled >= self.config.patience

    @property
    def number(self) -> int:
        """Optimizer steps done since the very beginning."""
        return self.at.epoch * self.steps + self.at.step

    def epoch(self) -> None:
        self.module.train()
        every = self.config.checkpoint_steps
        for batches in self._groups():
            self._step(batches)
            if every and self.at.step % every == 0:
                self._save()
        self._close(self._validated())
        self._save()

    def _groups(self) -> Iterator[list[Any]]:
        """The batches of each step that this epoch still needs."""
        self.generator.set_state(self.epoch_began)
        batches = iter(self.task.batches(self.generator))
        seen = sum(1 for _ in islice(batches, self.at.step * self.group))
        if self.random is not None:  # layers draw on from where the killed process was
            randomness.restore(self.random)
            self.random = None
        while group := list(islice(batches, self.group)):
            seen += len(group)
            yield group
        if seen != self.task.batch_count():
            raise TrainingError(
                f"the task yields {seen} batches and says {self.task.batch_count()}: its batches() "
                "and batch_count() must agree, the schedule counts on it"
            )

    def _step(self, batches: list[Any]) -> None:
        place = f"in step {self.number + 1} (epoch {self.at.epoch + 1})"
        (total,) = self.world.total(self._gradients(batches))
        _finite(total, f"the loss is {total} {place}")
        if self.config.clip_norm is not None:
            self._clip(self.config.clip_norm, place)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        if isinstance(self.schedule, LambdaLR):
            self.schedule.step()
        self.at.step += 1
        self.at.loss_sum += total
        self.speed.steps += 1
        if (self.at.step - 1) % math.ceil(self.steps / LINES) == 0:
            self.teller.now_and_then(self._line)

    def _clip(self, largest: float, place: str) -> None:
        learning = [weight for weight in self.weights if weight.grad is not None]
        length = nn.utils.get_total_norm(
            [weight.grad for weight in learning if weight.grad is not None]
        )
        norm = float(length)
        _finite(norm, f"the norm of the gradient is {norm} {place}")
        if norm > largest:  # the usual step is shorter, and a pass over all gradients is not free
            nn.utils.clip_grads_with_norm_(learning, largest, length)

    def _gradients(self, batches: list[Any]) -> float:
        """Leave the gradient of the mean loss over ``batches``, of all processes, in the weights.

        A process without a batch of its own still takes part in the exchange, with weight zero.

        Returns:
            Sum of the losses of this process's own batches.
        """
        mine = batches[self.world.rank :: self.world.size]
        weight = self.world.size / len(batches) if mine else 0.0
        used = mine or batches[:1]
        total = torch.zeros((), device=self.device)
        for number, batch in enumerate(used, start=1):
            with distributed.quiet(self.loss, last=number == len(used)):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                    loss = self.loss(devices.moved(batch, self.device))
                (loss * weight).backward()
            total += loss.detach() * bool(mine)
        return float(total)

    def _validated(self) -> float:
        """The first process validates; all get its value."""
        value = 0.0
        self.module.eval()
        with torch.no_grad():
            if self.world.rank == 0:
                value = float(self.task.validate())
        (value,) = self.world.total(value)
        _finite(value, f"validation says {value} after epoch {self.at.epoch + 1}")
        return value

    def _close(self, value: float) -> None:
        """Write an epoch into the progress, keep its weights if they are the best."""
        at = self.at
        at.train_loss.append(at.loss_sum / self.task.batch_count())
        at.validation.append(value)
        at.learning_rates.append(float(self.adam.param_groups[0]["lr"]))
        at.epoch, at.step, at.loss_sum = at.epoch + 1, 0, 0.0
        if value > at.best_value:
            at.best_epoch, at.best_value = at.epoch, value
            self.best = {k: v.detach().cpu().clone() for k, v in self.module.state_dict().items()}
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(value)
        self.epoch_began = self.generator.get_state()
        self.teller.now_and_then(self._line)
        self._draw(at.epoch - 1)

    def _draw(self, first: int) -> None:
        """Give the curves from an epoch on; what a killed process gave is lost with it."""
        curves = {"train_loss": self.at.train_loss, "validation": self.at.validation}
        curves["learning_rate"] = self.at.learning_rates
        for name, values in curves.items() if self.world.rank == 0 else ():
            for epoch, value in enumerate(values[first:], start=first + 1):
                self.context.curve(name, epoch, value)

    def _line(self) -> str:
        at, config = self.at, self.config
        seen = min(at.step * self.group, self.task.batch_count())
        left = config.max_epochs * self.steps - self.number
        rows = self.speed.rate() * self.group * config.batch_size
        loss = at.loss_sum / seen if seen else at.train_loss[-1]
        best = (at.best_value, at.best_epoch) if at.best_epoch else None
        where = f"epoch {at.epoch + bool(at.step)}/{config.max_epochs}, step {at.step}/{self.steps}"
        return progress(where, loss, best, rows, self.speed.remaining(left))

    def resume(self) -> None:
        """Go on where a checkpoint in the folder was written, if it is of this training."""
        found = self.files.load()
        if isinstance(found, str):
            self.teller.now(f"the checkpoint is not gone on from, training starts anew: {found}")
        elif found is not None:
            saved, self.best = found
            self.at = state.unpack(saved, self.module, self.adam, self.schedule)
            self.epoch_began = saved.tensors["generator"]
            self.random = state.under(saved.tensors, f"random.{self.world.rank}.")
            self.resumed_from = self.number
            self.teller.now(f"going on after step {self.number} (epoch {self.at.epoch + 1})")
            self._draw(0)
        if self.world.total(self.number) != [self.number * self.world.size]:
            raise TrainingError("the processes see different checkpoints: give them one folder")

    def _save(self) -> None:
        if self.files.folder is None:
            return
        self.at.seconds += self.speed.lap()
        random = self.world.gather(randomness.packed())
        tensors, scalars = state.pack(self.module, self.adam, self.schedule, self.at)
        tensors |= {"generator": self.epoch_began}
        tensors |= {f"random.{name}": tensor for name, tensor in random.items()}
        new = self.at.best_epoch == self.at.epoch and not self.at.step
        self.files.save(Checkpoint(tensors, scalars), self.at.best_epoch, self.best if new else {})

    def result(self) -> History:
        """The history; puts the best weights into the module."""
        at = self.at
        self.module.load_state_dict(self.best)
        self.module.eval()
        return History(
            epochs=at.epoch, best_epoch=at.best_epoch, best_value=at.best_value,
            train_loss=tuple(at.train_loss), validation=tuple(at.validation),
            learning_rates=tuple(at.learning_rates),
            stopped_early=at.epoch < self.config.max_epochs,
            resumed_from=self.resumed_from, seconds=at.seconds + self.speed.lap(),
        )  # fmt: skip


def _finite(value: float, problem: str) -> None:
    if not math.isfinite(value):
        raise TrainingError(
            f"{problem}: try a lower learning_rate, a smaller clip_norm or precision='fp32', and "
            "look for NaN in the inputs"
        )
