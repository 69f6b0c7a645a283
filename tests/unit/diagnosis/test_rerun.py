"""The flagged step of an incident, run again from its files with freshly built training objects."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from support.parts import BATCHES, Parts, spoils_statistics
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from supervisor.diagnosis import Origin, Rerun, load_bundle_file, rerun, write_bundle
from supervisor.errors import InputError
from supervisor.testing.tiny import with_nan
from supervisor.training.inspection import StateCheck
from supervisor.update import Attempt, UpdateSettings

Build = Callable[[], Parts]


def again(
    folder: Path, build: Build, *batches: Any, run: Callable[[Parts], None] = lambda parts: None
) -> tuple[Attempt, Rerun]:
    """A step as it was flagged, and as it is when new objects run it from the files.

    Args:
        folder: for the files.
        build: makes the training objects, twice.
        batches: of the step.
        run: what happens to the first objects before the step.
    """
    parts = build()
    run(parts)
    attempt = parts.flagged(*batches)
    write_bundle(folder, attempt, parts.subject, most_bytes=2**30)
    fresh = build()
    state, kept = load_bundle_file(folder / "state.pt"), load_bundle_file(folder / "batch.pt")
    return attempt, rerun(fresh.subject, fresh.executor.settings, fresh.loss, state, kept)


def trained(parts: Parts) -> None:
    for batch in BATCHES[3:]:
        parts.applied(batch)


@pytest.mark.parametrize("scaled", [False, True])
def test_a_healthy_step_is_the_very_step_that_it_was(tmp_path: Path, scaled: bool) -> None:
    def build() -> Parts:
        parts = Parts.of()
        plain = parts.loss

        def loss(batch: Any) -> Tensor:
            return plain((batch[0] + torch.rand(()), batch[1]))

        scaler = GradScaler("cpu", init_scale=8.0) if scaled else None
        return Parts.of(parts.model, loss, scaler=scaler)

    attempt, found = again(tmp_path, build, BATCHES[0], run=trained)
    assert (found.loss, found.grad_norm) == (attempt.seen.loss, attempt.seen.grad_norm)
    assert found.healthy
    assert (found.exception, found.forward, found.surfaced, found.backward) == (None, None, None, None)
    assert found.bad_samples == ((),)
    norms = [norm for _, norm in found.largest]
    assert len(norms) == 3
    assert norms == sorted(norms, reverse=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    x: Tensor
    y: Tensor


class Pair(NamedTuple):
    x: Tensor
    y: Tensor


@pytest.mark.parametrize("kind", [Batch, Pair])
def test_a_batch_is_what_it_was_to_the_loss(tmp_path: Path, kind: Callable[..., Any]) -> None:
    def build() -> Parts:
        parts = Parts.of()
        plain = parts.loss
        return Parts.of(parts.model, lambda batch: plain((batch.x, batch.y)))

    attempt, found = again(tmp_path, build, kind(*BATCHES[0]))
    assert (found.exception, found.loss) == (None, attempt.seen.loss)
    assert again(tmp_path, build, kind(*with_nan(BATCHES[0], row=5)))[1].bad_samples == ((5,),)


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    attempt, found = again(
        tmp_path, lambda: Parts.of(settings=UpdateSettings(accumulate=2)), BATCHES[0], with_nan(BATCHES[1], row=3)
    )
    assert found.bad_samples == ((), (3,))
    attempt, found = again(tmp_path, lambda: Parts.of(settings=UpdateSettings(accumulate=2)), *BATCHES[:2])
    assert (found.loss, found.grad_norm) == (attempt.seen.loss, attempt.seen.grad_norm)


def test_a_bad_sample_is_shown_with_the_module_that_it_showed_in(tmp_path: Path) -> None:
    _, found = again(tmp_path, Parts.of, with_nan(BATCHES[0], row=3))
    assert not found.healthy
    assert (found.bad_samples, found.surfaced, found.forward) == (((3,),), "inner", None)
    assert "inner.weight" in found.bad_gradients


def test_spoilt_statistics_are_not_healthy(tmp_path: Path) -> None:
    attempt, found = again(tmp_path, Parts.of, spoils_statistics(BATCHES[0]), run=trained)
    assert attempt.seen.bad_buffers == found.bad_buffers == ("norm.running_var",)
    assert math.isfinite(found.loss + found.grad_norm)
    assert not found.healthy


def test_values_that_the_model_replaced_are_not_healthy(tmp_path: Path) -> None:
    def build() -> Parts:
        parts, count = Parts.of(), [0]
        plain = parts.loss

        def loss(batch: Any) -> Tensor:
            count[0] += int(batch[0].isnan().sum())
            return plain((torch.nan_to_num(batch[0]), batch[1]))

        def sanitized() -> Tensor:
            number, count[0] = count[0], 0
            return torch.tensor(number)

        return Parts.of(parts.model, loss, settings=UpdateSettings(sanitized=sanitized))

    attempt, found = again(tmp_path, build, with_nan(BATCHES[0]))
    assert attempt.seen.sanitized == found.sanitized == 1
    assert math.isfinite(found.loss + found.grad_norm)
    assert not found.healthy


@pytest.mark.parametrize(("factor", "overflows"), [(1e30, True), (5e18, False)])
def test_a_norm_that_overflows_is_not_healthy_and_its_finite_elements_are_not_called_otherwise(
    tmp_path: Path, factor: float, overflows: bool
) -> None:
    """The smaller factor leaves the norm finite too, and a second moment would overflow."""

    def build() -> Parts:
        weight = nn.Parameter(torch.ones(4))
        model = nn.Module()
        model.weight = weight
        return Parts.of(model, lambda batch: (weight * batch).sum())

    attempt, found = again(tmp_path, build, torch.full((4,), factor))
    assert math.isinf(found.grad_norm) is overflows
    assert found.bad_gradients == ()
    assert found.gradient_max_abs == attempt.seen.gradient_max_abs == pytest.approx(factor)
    assert not found.healthy


def test_a_gradient_that_is_not_finite_is_named_alone(tmp_path: Path) -> None:
    def build() -> Parts:
        parts = Parts.of()
        parts.model.get_parameter("outer.bias").register_hook(lambda grad: grad * math.nan)  # type: ignore[no-untyped-call]
        parts.model.get_parameter("inner.bias").register_hook(lambda grad: grad + 3e38)  # type: ignore[no-untyped-call]
        return parts

    _, found = again(tmp_path, build, BATCHES[0])
    assert found.bad_gradients == ("outer.bias",)
    assert [name for name, _ in found.largest[:2]] == ["outer.bias", "inner.bias"]


def test_a_poisoned_state_is_named(tmp_path: Path) -> None:
    def poisons(parts: Parts) -> None:
        parts.model.get_parameter("inner.bias").data[0] = math.nan
        parts.model.get_buffer("norm.running_mean")[0] = math.nan

    _, found = again(tmp_path, Parts.of, BATCHES[0], run=poisons)
    assert found.bad_parameters == ("inner.bias", "norm.running_mean")
    assert not found.healthy


@pytest.mark.parametrize(
    ("spoil", "forward", "backward"),
    [
        (lambda loss: torch.log(-loss), "log", None),
        (lambda loss: loss + (loss * 0).sqrt(), None, "SqrtBackward0"),
    ],
    ids=["forward", "backward"],
)
def test_the_loss_function_is_named_where_it_makes_it(
    tmp_path: Path, spoil: Callable[[Tensor], Tensor], forward: str | None, backward: str | None
) -> None:
    def build() -> Parts:
        parts = Parts.of()
        plain = parts.loss
        return Parts.of(parts.model, lambda batch: spoil(plain(batch)))

    _, found = again(tmp_path, build, BATCHES[0])

    def named(origin: Origin | None) -> str | None:
        return None if origin is None or origin.module is not None else origin.operation

    assert named(found.forward) == forward
    if backward is not None:
        assert named(found.backward) == backward
    assert not found.healthy


def test_an_exception_is_shown(tmp_path: Path) -> None:
    def raises(batch: Any) -> Tensor:
        raise ValueError("not here")

    _, found = again(tmp_path, lambda: Parts.of(loss=raises), BATCHES[0])
    assert found.exception == "ValueError: not here"
    assert math.isnan(found.loss)
    assert not found.healthy


def test_modes_come_from_the_files(tmp_path: Path) -> None:
    def evaluates(parts: Parts) -> None:
        trained(parts)
        parts.model.eval()

    attempt, found = again(tmp_path, Parts.of, BATCHES[0], run=evaluates)
    assert found.loss == attempt.seen.loss


@pytest.mark.parametrize("other", [nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 5))], ids=["names", "shapes"])
def test_the_state_of_another_model_is_refused(tmp_path: Path, other: nn.Module) -> None:
    parts = Parts.of(nn.Sequential(nn.Linear(4, 3)))
    write_bundle(tmp_path, parts.flagged(BATCHES[0]), parts.subject, most_bytes=2**30)
    fresh = Parts.of(other)
    state = load_bundle_file(tmp_path / "state.pt")
    with pytest.raises(InputError, match=r"state\.pt is of another model"):
        rerun(fresh.subject, UpdateSettings(), fresh.loss, state, BATCHES[:1])


def test_a_mask_of_infinities_that_the_trainer_builds_is_exempt(tmp_path: Path) -> None:
    def build() -> Parts:
        model = Parts.of().model
        model.register_buffer("mask", torch.full((3, 3), -math.inf).triu(1))
        return Parts.of(model)

    _, found = again(tmp_path, build, BATCHES[0])
    assert found.healthy
    assert StateCheck(build().model, build().subject.optimizer).exempt_buffers == ("mask",)


@pytest.mark.parametrize(
    "flaw",
    [
        {"loss": math.nan},
        {"grad_norm": math.inf},
        {"exception": "KeyError: 'a'"},
        {"bad_parameters": ("a",)},
        {"bad_buffers": ("a",)},
        {"sanitized": 1},
        {"gradient_max_abs": 1e19},
    ],
    ids=lambda flaw: next(iter(flaw)),
)
def test_each_finding_by_itself_is_not_healthy(flaw: dict[str, Any]) -> None:
    sound = Rerun(
        loss=1.0,
        grad_norm=1.0,
        exception=None,
        bad_samples=(),
        bad_parameters=(),
        bad_gradients=(),
        gradient_max_abs=None,
        bad_buffers=(),
        sanitized=0,
        forward=None,
        surfaced=None,
        backward=None,
        largest=(),
    )
    assert sound.healthy
    assert not dataclasses.replace(sound, **flaw).healthy
