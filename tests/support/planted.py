"""Causes planted in five models, each with what a diagnosis has to say of it.

`python -m support.planted` (from `tests/`) diagnoses all of them and prints the confusion table.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from energy_flow.energy_trainer import EnergyTrainer
from supervisor import Guard
from supervisor.events.schema import DiagnosisEvent
from support.exact import seed_all
from support.training import EventList, Net, quiet

__all__ = ["PLANTED", "Planted", "confusion", "diagnose"]

AT = 2
"""The update that goes wrong, after two healthy ones."""
ROWS, FEATURES, LENGTH, CLASSES = 16, 6, 5, 3


class Swapped(nn.Module):
    """A module whose function a fault replaces, on one batch alone or from one batch on."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Callable[[Tensor], Tensor] | None = None

    def forward(self, values: Tensor) -> Tensor:
        return values if self.fault is None else self.fault(values)


class Sequence(nn.Module):
    """An embedding, a GRU (whose output is a tuple) and a head with a scale of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(FEATURES, 12), nn.LayerNorm(12))
        self.gru = nn.GRU(12, 12, batch_first=True)
        self.extra = Swapped()
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x_BTF: Tensor) -> Tensor:
        carried_BTh, _ = self.gru(self.embed(x_BTF))
        logits: Tensor = self.head(self.extra(carried_BTh[:, -1]))
        return logits


class Attention(nn.Module):
    """One head of attention whose masked scores are -inf, by a module of their own, as they should be."""

    class Scores(nn.Module):
        def forward(self, query: Tensor, key: Tensor, mask_BT: Tensor) -> Tensor:
            scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
            return scores.masked_fill(mask_BT[:, None, :], -math.inf)

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(FEATURES, 12)
        self.scores = Attention.Scores()
        self.softmax = nn.Softmax(dim=-1)
        self.extra = Swapped()
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x_BTF: Tensor, mask_BT: Tensor) -> Tensor:
        value = self.project(x_BTF)
        weights = self.softmax(self.scores(value, value, mask_BT))
        logits: Tensor = self.head(self.extra((weights @ value).mean(1)))
        return logits


class Carrying(nn.Module):
    """Carries a hidden value from batch to batch in a plain attribute, and begins anew with a batch of another size."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(FEATURES, 12)
        self.head = nn.Linear(12, CLASSES)
        self.hidden_BH: Tensor | None = None

    def forward(self, x_BF: Tensor) -> Tensor:
        if self.hidden_BH is None or len(self.hidden_BH) != len(x_BF):
            self.hidden_BH = x_BF.new_zeros(len(x_BF), 12)
        new_BH = self.cell(x_BF, self.hidden_BH)
        self.hidden_BH = new_BH.detach()
        logits: Tensor = self.head(new_BH)
        return logits


class Convolution(nn.Module):
    """Two convolutions, in-place activations, and a functional end in the model's own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(FEATURES, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Conv1d(8, 8, 1)
        )
        self.extra = Swapped()
        self.head = nn.Linear(8, CLASSES)
        self.end: Callable[[Tensor], Tensor] = lambda values: values

    def forward(self, x_BTF: Tensor) -> Tensor:
        pooled_BC = self.extra(self.conv(x_BTF.transpose(1, 2)).mean(2))
        logits: Tensor = self.end(self.head(pooled_BC))
        return logits


@dataclass
class Bench:
    """A model ready to be trained, and a place for the fault.

    Attributes:
        batch: makes batch number `n`.
        compute: batch -> loss, before `after` is applied.
        after: what the loss function does to the loss.
        now: called before the update that goes wrong.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batch: Callable[[int], Any]
    compute: Callable[[Any], Tensor]
    after: Callable[[Tensor], Tensor] = lambda loss: loss
    scaler: Any = None
    sanitized: Any = None
    policy: dict[str, Any] = field(default_factory=quiet)
    spoil: Callable[[Any], Any] = lambda batch: batch
    now: Callable[[], object] = lambda: None
    warm: int = AT

    def loss(self, batch: Any) -> Tensor:
        return self.after(self.compute(batch))


def tensors(number: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(number))


def labels(x: Tensor) -> Tensor:
    return x.reshape(len(x), -1)[:, :CLASSES].argmax(1)


def classified(model: nn.Module, *shape: int) -> Bench:
    def batch(number: int) -> Any:
        x = tensors(number, ROWS, *shape)
        return x, labels(x)

    def compute(batch: Any) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]).float(), batch[1])

    return Bench(model, torch.optim.Adam(model.parameters(), lr=0.01), batch, compute)


def net() -> Bench:
    return classified(Net(), FEATURES)


def sequence() -> Bench:
    return classified(Sequence(), LENGTH, FEATURES)


def carrying() -> Bench:
    return classified(Carrying(), FEATURES)


def half() -> Bench:
    """Weights in float16, stepped by an Adam whose eps is zero in that type."""
    bench = classified(nn.Sequential(nn.Linear(FEATURES, CLASSES)).half(), FEATURES)
    batch, compute = bench.batch, bench.compute
    bench.batch = lambda number: (batch(number)[0].half(), batch(number)[1])
    bench.compute = lambda given: compute(given) * 1e-3
    return bench


def convolution() -> Bench:
    return classified(Convolution(), LENGTH, FEATURES)


def attention() -> Bench:
    model = Attention()

    def batch(number: int) -> Any:
        x = tensors(number, ROWS, LENGTH, FEATURES)
        mask_BT = torch.zeros(ROWS, LENGTH, dtype=torch.bool)
        mask_BT[:, -1] = True
        return {"x": x, "mask": mask_BT, "y": labels(x)}

    def compute(batch: Any) -> Tensor:
        return nn.functional.cross_entropy(model(batch["x"], batch["mask"]), batch["y"])

    return Bench(model, torch.optim.Adam(model.parameters(), lr=0.01), batch, compute)


def energy_flow() -> Bench:
    trainer = EnergyTrainer.from_config({"lattice_width": 4, "lattice_height": 4, "lattice_depth": 4}, seed=3)
    batches: Iterator[Any] = iter(trainer.data)
    return Bench(
        trainer.model, trainer.optimizer, lambda number: next(batches), trainer.loss, sanitized=trainer.sanitized
    )


def half_gru() -> Bench:
    """A GRU in float16, whose large inputs overflow in its own product."""
    model = Sequence()
    model.gru.half()
    forward = model.gru.forward
    model.gru.forward = lambda x, h=None: forward(x.half(), h)  # type: ignore[method-assign, assignment, misc]
    model.extra.fault = lambda values: values.float()
    bench = classified(model, LENGTH, FEATURES)
    bench.optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    return bench


@dataclass(frozen=True)
class Planted:
    """One planted cause.

    Attributes:
        name: what it is.
        build: the model.
        plant: writes the fault into it.
        kind: of cause that has to be found.
        names: fields of the cause that have to be named.
    """

    name: str
    build: Callable[[], Bench]
    plant: Callable[[Bench], None]
    kind: str
    names: dict[str, Any]


PLANTED: list[Planted] = []


def planted(
    build: Callable[[], Bench], kind: str, **names: Any
) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    def register(plant: Callable[[Bench], None]) -> Callable[[Bench], None]:
        PLANTED.append(Planted(f"{plant.__name__} in {build.__name__}", build, plant, kind, names))
        return plant

    return register


def replaced(batch: Any, key: Any, change: Callable[[Tensor], None]) -> Any:
    copy = dict(batch) if isinstance(batch, dict) else list(batch)
    copy[key] = copy[key].clone()
    change(copy[key])
    return copy if isinstance(batch, dict) else tuple(copy)


def in_row(row: int, value: float) -> Callable[[Tensor], None]:
    def change(tensor: Tensor) -> None:
        tensor[row].view(-1)[1] = value

    return change


# ---- data


@planted(net, "bad_input", samples=(5,), module="inner")
def nan_in_a_sample(bench: Bench) -> None:
    bench.spoil = lambda batch: replaced(batch, 0, in_row(5, math.nan))


@planted(sequence, "bad_input", samples=(11,))
def infinity_in_a_sample(bench: Bench) -> None:
    bench.spoil = lambda batch: replaced(batch, 0, in_row(11, math.inf))


@planted(energy_flow, "bad_input", samples=(7,))
def nan_in_a_question(bench: Bench) -> None:
    bench.spoil = lambda batch: replaced(batch, 0, in_row(7, math.nan))


@planted(energy_flow, "bad_input", samples=(3, 20))
def nan_in_two_answers(bench: Bench) -> None:
    def spoil(batch: Any) -> Any:
        return replaced(replaced(batch, 1, in_row(3, math.nan)), 1, in_row(20, math.nan))

    bench.spoil = spoil


@planted(attention, "bad_input", samples=(9,), module="softmax")
def all_masked_row_of_a_sample(bench: Bench) -> None:
    bench.spoil = lambda batch: replaced(batch, "mask", lambda mask: mask[9].fill_(True))


@planted(convolution, "bad_input", samples=(4,))
def finite_sample_that_overflows(bench: Bench) -> None:
    bench.spoil = lambda batch: replaced(batch, 0, lambda x: x[4].fill_(1e38))


@planted(sequence, "bad_input", samples=(2,))
def sample_at_the_root_of_a_norm(bench: Bench) -> None:
    """An all-zero sample: the length is 0, and its derivative is not finite."""
    model = bench.model

    def compute(batch: Any) -> Tensor:
        length_B = batch[0].mul(model.embed[0].weight.sum()).square().sum((1, 2)).sqrt()
        return nn.functional.cross_entropy(model(batch[0]), batch[1]) + 0.01 * length_B.mean()

    bench.compute = compute
    bench.spoil = lambda batch: replaced(batch, 0, lambda x: x[2].zero_())


@planted(net, "bad_input", samples=(0,))
def outlier_that_spikes(bench: Bench) -> None:
    def compute(batch: Any) -> Tensor:
        return nn.functional.mse_loss(bench.model(batch[0]).sum(1), batch[0].sum(1))

    bench.model.norm = nn.Identity()
    bench.compute = compute
    bench.policy = {"detect": {"spike": {"window_updates": 16, "warmup_updates": 8}}}
    bench.warm = 12
    bench.spoil = lambda batch: replaced(batch, 0, lambda x: x[0].mul_(1e4))


# ---- modules


def overflow(values: Tensor) -> Tensor:
    return (values.abs() + 100).exp()


@planted(net, "nonfinite_activation", module="norm")
def an_overflowing_normalisation(bench: Bench) -> None:
    def now() -> None:
        bench.model.norm.forward = lambda values: overflow(values * 0 + 1) * values  # type: ignore[method-assign]

    bench.now = now


@planted(sequence, "nonfinite_activation", module="extra", operation="exp")
def an_overflowing_exponential(bench: Bench) -> None:
    bench.now = lambda: setattr(bench.model.extra, "fault", overflow)


@planted(convolution, "nonfinite_activation", module="conv.3")
def an_overflowing_convolution(bench: Bench) -> None:
    def now() -> None:
        with torch.no_grad():
            bench.model.conv[3].weight.fill_(3e38)

    bench.now = now


@planted(attention, "nonfinite_activation", module="scores")
def overflowing_scores(bench: Bench) -> None:
    def now() -> None:
        with torch.no_grad():
            bench.model.project.weight.mul_(1e25)

    bench.now = now


@planted(energy_flow, "nonfinite_activation", module="decoder.layers.6")
def an_overflowing_decoder(bench: Bench) -> None:
    def now() -> None:
        linears = [m for m in bench.model.decoder.modules() if isinstance(m, nn.Linear)]
        with torch.no_grad():
            linears[-1].weight.fill_(3e38)

    bench.now = now


@planted(half_gru, "nonfinite_activation", module="gru")
def float16_overflow_in_a_gru(bench: Bench) -> None:
    def now() -> None:
        with torch.no_grad():
            # Products overflow with either sign, and what is added up in the gates is inf - inf.
            for weight in (bench.model.gru.weight_ih_l0, bench.model.gru.weight_hh_l0):
                weight.copy_(weight.sign() * 6e4)

    bench.now = now


@planted(convolution, "nonfinite_activation", module="", operation="log")
def a_logarithm_in_the_models_own_forward(bench: Bench) -> None:
    bench.now = lambda: setattr(bench.model, "end", lambda logits: torch.log(logits * 0))


@planted(sequence, "nonfinite_activation", module="extra", operation="div")
def a_division_by_zero(bench: Bench) -> None:
    bench.now = lambda: setattr(bench.model.extra, "fault", lambda values: values / (values * 0))


# ---- loss and backward


@planted(net, "loss_function", operation="log")
def zero_times_log_of_zero(bench: Bench) -> None:
    def now() -> None:
        def compute(batch: Any) -> Tensor:
            p = torch.softmax(bench.model(batch[0]), 1)
            p = torch.where(p > 0.4, p, torch.zeros_like(p))
            return -(p * torch.log(p)).sum()

        bench.compute = compute

    bench.now = now


@planted(energy_flow, "loss_function")
def a_loss_that_overflows(bench: Bench) -> None:
    bench.now = lambda: setattr(bench, "after", lambda loss: (loss * 1e30).square())


@planted(convolution, "backward_only", module="", operation="SqrtBackward0")
def a_square_root_at_zero(bench: Bench) -> None:
    bench.now = lambda: setattr(bench.model, "end", lambda logits: logits + (logits * 0).sqrt())


@planted(attention, "backward_only", module="extra", operation="LogBackward0")
def the_where_trap(bench: Bench) -> None:
    def trap(values: Tensor) -> Tensor:
        values = values * (values > 0)
        return torch.where(values > 0, torch.log(values), torch.zeros_like(values))

    bench.now = lambda: setattr(bench.model.extra, "fault", trap)


@planted(sequence, "backward_only", module=None, operation="SqrtBackward0")
def a_square_root_at_zero_in_the_loss(bench: Bench) -> None:
    bench.now = lambda: setattr(bench, "after", lambda loss: loss + (loss * 0).sqrt())


@planted(energy_flow, "backward_only", module="decoder")
def a_decoder_whose_root_is_at_zero(bench: Bench) -> None:
    def now() -> None:
        forward = bench.model.decoder.forward
        bench.model.decoder.forward = lambda surface: forward(surface) + (surface.sum() * 0).sqrt()

    bench.now = now


# ---- state


@planted(net, "poisoned_parameter", parameter="inner.weight", module="inner")
def a_nan_weight(bench: Bench) -> None:
    bench.now = lambda: bench.model.inner.weight.data.view(-1)[2].fill_(math.nan)


@planted(energy_flow, "poisoned_parameter", parameter="carrier.gru.weight_hh_l0", module="carrier.gru")
def an_infinite_recurrent_weight(bench: Bench) -> None:
    bench.now = lambda: bench.model.carrier.gru.weight_hh_l0.data.view(-1)[2].fill_(math.inf)


@planted(convolution, "poisoned_parameter", parameter="conv.1.running_var", module="conv.1")
def a_nan_in_running_statistics(bench: Bench) -> None:
    def now() -> None:
        bench.model.conv[1].running_var[3] = math.nan
        bench.model.eval()

    bench.now = now


@planted(sequence, "poisoned_optimizer_state", parameter="gru.weight_hh_l0", state_key="exp_avg_sq")
def a_poisoned_second_moment(bench: Bench) -> None:
    def now() -> None:
        bench.optimizer.state[bench.model.gru.weight_hh_l0]["exp_avg_sq"].view(-1)[0] = math.nan
        bench.after = lambda loss: loss * math.nan

    bench.now = now


@planted(energy_flow, "poisoned_optimizer_state", parameter="encoder.layers.0.weight", state_key="exp_avg")
def a_poisoned_first_moment(bench: Bench) -> None:
    """Found by the state check, once it has reached the weights."""
    name = "encoder.layers.0.weight"

    def now() -> None:
        parameter = dict(bench.model.named_parameters())[name]
        bench.optimizer.state[parameter]["exp_avg"].view(-1)[0] = math.nan

    bench.policy = quiet(detect={"state_every_steps": 1})
    bench.now = now


@planted(
    half, "poisoned_parameter", parameter="0.weight", optimizer="Adam", dtype="float16", eps=1e-8, finite_before=True
)
def an_eps_that_is_zero_in_float16(bench: Bench) -> None:
    bench.policy = quiet(detect={"state_every_steps": 1})
    bench.warm = 0


@planted(carrying, "hidden_state", attributes=("hidden_BH",), module="")
def a_nan_in_a_plain_attribute(bench: Bench) -> None:
    bench.now = lambda: bench.model.hidden_BH.view(-1)[30].fill_(math.nan)


@planted(carrying, "bad_input", samples=(5,), module="cell")
def a_nan_in_a_sample_that_is_carried_on(bench: Bench) -> None:
    bench.spoil = lambda batch: replaced(batch, 0, in_row(5, math.nan))


# ---- explosion, glitch, exception


@planted(sequence, "gradient_explosion", parameter="head.weight", module="head")
def an_exploding_parameter(bench: Bench) -> None:
    bench.now = lambda: bench.model.head.weight.register_hook(lambda gradient: gradient * 1e25)


@planted(convolution, "gradient_explosion")
def a_loss_that_explodes(bench: Bench) -> None:
    bench.now = lambda: setattr(bench, "after", lambda loss: loss * 1e25)


def once(bench: Bench, spoil: Callable[[Tensor], Tensor]) -> None:
    waiting = [True]

    def after(loss: Tensor) -> Tensor:
        return spoil(loss) if waiting and waiting.pop() else loss

    bench.now = lambda: setattr(bench, "after", after)


@planted(net, "not_reproducible", deterministic=True)
def a_glitch(bench: Bench) -> None:
    once(bench, lambda loss: loss * math.nan)


@planted(energy_flow, "not_reproducible", deterministic=True)
def a_glitch_in_the_gradient(bench: Bench) -> None:
    once(bench, lambda loss: loss + (loss * 0).sqrt())


@planted(attention, "not_reproducible", deterministic=False)
def a_program_that_is_not_deterministic(bench: Bench) -> None:
    generator = torch.Generator().manual_seed(1)
    waiting = [True]

    def after(loss: Tensor) -> Tensor:
        return loss * math.nan if waiting and waiting.pop() else loss * torch.rand((), generator=generator)

    bench.now = lambda: setattr(bench, "after", after)


def give_up(values: Tensor) -> Tensor:
    raise ValueError("no such category")


@planted(sequence, "exception", exception_type="ValueError", module="extra")
def an_exception_in_a_module(bench: Bench) -> None:
    bench.now = lambda: setattr(bench.model.extra, "fault", give_up)


@planted(energy_flow, "exception", exception_type="KeyError", module=None)
def an_exception_in_the_loss(bench: Bench) -> None:
    def after(loss: Tensor) -> Tensor:
        return {}["weight"] * loss  # type: ignore[no-any-return]

    bench.now = lambda: setattr(bench, "after", after)


def diagnose(case: Planted) -> DiagnosisEvent:
    """Plant a cause, train until it strikes, and return the one diagnosis made of it."""
    seed_all(11)
    bench = case.build()
    case.plant(bench)
    heard = EventList()
    guard = Guard(
        model=bench.model,
        optimizer=bench.optimizer,
        loss=bench.loss,
        scaler=bench.scaler,
        sanitized=bench.sanitized,
        policy=bench.policy,
        listeners=[heard],
    )
    for number in range(bench.warm):
        assert guard.step(bench.batch(number)).applied, f"{case.name}: it went wrong before its time"
    bench.now()
    assert not guard.step(bench.spoil(bench.batch(bench.warm))).applied, f"{case.name}: nothing went wrong"
    found: list[DiagnosisEvent] = heard.named("diagnosis")
    assert len(found) == 1, [event.message for event in heard.named("warning")]
    return found[0]


def is_right(case: Planted, found: DiagnosisEvent) -> bool:
    """Whether kind and names are right."""
    return found.kind == case.kind and all(getattr(found, key) == value for key, value in case.names.items())


def confusion() -> str:
    """The table: kinds planted by kinds found."""
    counts: Counter[tuple[str, str]] = Counter()
    wrong = []
    for case in PLANTED:
        found = diagnose(case)
        counts[case.kind, str(found.kind)] += 1
        if not is_right(case, found):
            wrong.append(f"{case.name}: {found}")
    kinds = list(dict.fromkeys(case.kind for case in PLANTED))
    short = {kind: f"{index + 1}" for index, kind in enumerate(kinds)}
    lines = [f"| planted | {' | '.join(short.values())} |", f"|---|{'---:|' * len(kinds)}"]
    for kind in kinds:
        cells = [str(counts[kind, other] or "") for other in kinds]
        lines.append(f"| {short[kind]} `{kind}` | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{len(PLANTED) - len(wrong)} of {len(PLANTED)} with the right names", *wrong])


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(confusion() + "\n")
