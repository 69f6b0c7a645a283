"""What most incidents come from is found with hardly more than the step itself costs."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
from support.training import EventList, build, guard_of, healthy_batches, nan_batch, quiet
from torch import Tensor, nn

from supervisor import Guard, PolicyHalt
from supervisor.diagnosis.probe import Probe
from supervisor.events.schema import DiagnosisEvent
from supervisor.guard.diagnosing import IN_FULL
from supervisor.records import CauseKind

BATCHES = healthy_batches(12)
AT = 5


def diagnosed(data: list[Any], loss: Any, training: Any) -> DiagnosisEvent:
    heard = EventList()
    guard = guard_of(training, policy=quiet(), data=data, loss=loss, listeners=[heard])
    guard.run(8)
    (found,) = [event for event in heard if isinstance(event, DiagnosisEvent)]
    return found


def test_a_nan_of_the_batch_is_found_before_the_first_module_is_left() -> None:
    training = build()
    left: list[str] = []
    for name, module in training.model.named_modules():
        module.register_forward_hook(lambda m, a, o, name=name: left.append(name))
    data = [nan_batch(batch) if number == AT else batch for number, batch in enumerate(BATCHES)]
    found = diagnosed(data, training.loss, training)
    assert (found.kind, found.replays, found.module) == (CauseKind.BAD_INPUT, 1, "inner")
    # The replay ended in the first module: it left no other.
    assert left.count("inner") == left.count("outer") + 1


def test_a_gradient_that_went_wrong_once_takes_one_replay() -> None:
    training = build()
    weight = training.model.outer.weight
    seen = 0

    def once(gradient: Tensor) -> Tensor:
        nonlocal seen
        seen += 1
        return gradient * math.nan if seen == AT + 1 else gradient

    weight.register_hook(once)
    found = diagnosed(BATCHES, training.loss, training)
    assert (found.kind, found.replays, found.deterministic) == (CauseKind.NOT_REPRODUCIBLE, 1, True)


def test_a_loss_that_went_wrong_once_takes_a_second_replay_to_tell_chance_from_fault() -> None:
    training = build()
    seen = 0

    def loss(batch: Any) -> Tensor:
        nonlocal seen
        seen += 1
        return training.loss(batch) * (math.nan if seen == AT + 1 else 1.0)

    found = diagnosed(BATCHES, loss, training)
    assert (found.kind, found.replays, found.deterministic) == (CauseKind.NOT_REPRODUCIBLE, 2, True)


class Carrying(nn.Module):
    """Keeps something from batch to batch in a plain attribute, and begins anew with a batch of another size."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 8), nn.Linear(8, 3)
        self.kept_BH: Tensor | None = None

    def forward(self, x_BF: Tensor) -> Tensor:
        now_BH = torch.relu(self.inner(x_BF))
        if self.kept_BH is None or self.kept_BH.shape != now_BH.shape:
            self.kept_BH = torch.zeros_like(now_BH)
        self.kept_BH = (0.5 * self.kept_BH + 0.1 * now_BH).detach()
        out: Tensor = self.outer(now_BH + self.kept_BH)
        return out


def test_a_brief_look_accuses_no_row_of_what_a_plain_attribute_has_done() -> None:
    """From the third update of an incident on, with experiments: one row by itself is healthy in such a model."""
    training, heard = build(model=Carrying), EventList()
    rows = [(x, y) for batch in healthy_batches(60) for x, y in zip(*batch, strict=True)]
    data = torch.utils.data.DataLoader(rows, batch_size=8)
    guard = guard_of(training, data=data, policy=quiet(experiments={}), listeners=[heard])  # type: ignore[arg-type]
    with contextlib.suppress(PolicyHalt):
        for number, batch in enumerate(guard.batches(50)):
            if number == 40:
                training.model.kept_BH.fill_(math.nan)
            guard.step(batch)
    found = [event for event in heard if isinstance(event, DiagnosisEvent)]
    assert len(found) > IN_FULL
    assert {event.kind for event in found} == {CauseKind.HIDDEN_STATE}
    assert heard.named("quarantined") == []


class Marked(nn.Module):
    """NaN marks a missing value, and is replaced before any module sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x_BF: Tensor) -> Tensor:
        out: Tensor = self.inner(torch.nan_to_num(x_BF)).square().sum(1)
        return out


def test_marks_for_missing_values_are_not_to_blame() -> None:
    torch.manual_seed(0)
    model = Marked()
    heard = EventList()
    batches = [{"x": torch.randn(8, 4), "bad": number == AT} for number in range(8)]
    for batch in batches:
        batch["x"][0, 0] = math.nan

    def loss(batch: dict[str, Any]) -> Tensor:
        value: Tensor = model(batch["x"]).mean()
        return torch.log(value - value) if batch["bad"] else value

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    Guard(model=model, optimizer=optimizer, loss=loss, data=batches, policy=quiet(), listeners=[heard]).run(7)
    (found,) = [event for event in heard if isinstance(event, DiagnosisEvent)]
    assert (found.kind, found.samples) == (CauseKind.LOSS_FUNCTION, ())


def test_a_probe_leaves_no_hook_behind() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    probe = Probe(model)
    with contextlib.suppress(Exception), probe.watching():
        model(torch.full((1, 2), math.nan))
    assert probe.module == "0"
    assert not any(module._forward_hooks for module in model.modules())
