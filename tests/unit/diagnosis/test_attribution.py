"""Why an update was flagged: each row of the table of causes, on parts of its own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from support.parts import BATCHES, Parts, is_healthy, spoils_statistics
from torch import Tensor, nn

from supervisor.diagnosis.attribution import Attribution
from supervisor.diagnosis.replay import DiagnosisFailed, Replays
from supervisor.records import Cause, CauseKind
from supervisor.testing.tiny import with_nan
from supervisor.update import Attempt, UpdateSettings

Spoil = Callable[[Tensor], Tensor]


def cause_of(parts: Parts, attempt: Attempt, batch_number: int | None = 9, most: int = 50) -> Cause | None:
    replays = Replays(parts.subject, parts.executor, attempt.before, None, attempt.place, most=most)
    return Attribution(attempt, batch_number, replays, is_healthy).cause()


def found(parts: Parts, *batches: Any) -> Cause:
    cause = cause_of(parts, parts.flagged(*batches))
    assert cause is not None
    return cause


def spoilt(spoil: Spoil) -> Parts:
    """Parts whose loss is spoilt each time it is computed."""
    parts = Parts.of()
    plain = parts.loss
    return Parts.of(parts.model, lambda batch: spoil(plain(batch)))


def once(spoil: Spoil) -> Spoil:
    """Spoils the first time alone."""
    calls: list[Tensor] = []

    def first(loss: Tensor) -> Tensor:
        calls.append(loss)
        return spoil(loss) if len(calls) == 1 else loss

    return first


def with_forward(name: str, forward: Callable[..., Tensor]) -> Parts:
    """Parts in whose model one module does something else."""
    parts = Parts.of()
    parts.model.get_submodule(name).forward = forward  # type: ignore[method-assign]
    return parts


def test_an_exception_of_every_sample_is_named_with_its_place_and_blames_none() -> None:
    def raises(x: Tensor) -> Tensor:
        raise ValueError("no such category")

    cause = found(with_forward("norm", raises), BATCHES[0])
    assert (cause.kind, cause.exception_type, cause.samples) == (CauseKind.EXCEPTION, "ValueError", ())
    # That it is raised whatever samples are left shows soon.
    assert cause.replays <= 8
    # The module's own frame is torch's here; what it called is a function of the user's.
    assert (cause.module, cause.module_type) == ("norm", "BatchNorm1d")
    assert cause.where is not None
    assert cause.explanation == f"the step raised ValueError: no such category at {cause.where}"
    assert (cause.step, cause.update, cause.batch_number) == (3, 5, 9)


@pytest.mark.parametrize("undone", [True, False])
def test_a_poisoned_moment_comes_before_the_parameter_that_it_poisoned(undone: bool) -> None:
    parts = Parts.of()
    attempt = parts.applied(BATCHES[0])
    parts.subject.optimizer.state[parts.model.get_parameter("outer.weight")]["exp_avg_sq"][0] = math.nan
    parts.model.get_parameter("inner.bias").data[0] = math.nan
    parts.executor.check_state(attempt)
    attempt.undone = undone
    cause = cause_of(parts, attempt)
    assert cause is not None
    assert (cause.kind, cause.parameter, cause.state_key, cause.module) == (
        CauseKind.POISONED_OPTIMIZER_STATE,
        "outer.weight",
        "exp_avg_sq",
        "outer",
    )
    assert ("before the step" if undone else "when the state was checked after the step") in cause.explanation
    assert cause.replays == 0


def test_a_poisoned_parameter() -> None:
    parts = Parts.of()
    parts.model.get_parameter("inner.bias").data[0] = math.nan
    attempt = parts.flagged(BATCHES[0])
    parts.executor.check_state(attempt)
    cause = cause_of(parts, attempt)
    assert cause is not None
    assert (cause.kind, cause.parameter, cause.module) == (CauseKind.POISONED_PARAMETER, "inner.bias", "inner")
    assert cause.explanation == "inner.bias was not finite before the step"


def test_an_update_that_reached_the_weights_is_not_run_again() -> None:
    parts = Parts.of()
    attempt = parts.applied(BATCHES[0])
    attempt.undone = False
    assert cause_of(parts, attempt, most=0) is None


class TestBadInput:
    def test_a_nan_of_the_batch_takes_one_replay_that_ends_early(self) -> None:
        cause = found(Parts.of(), with_nan(BATCHES[0], row=5))
        assert (cause.kind, cause.samples, cause.module, cause.replays) == (CauseKind.BAD_INPUT, (5,), "inner", 1)
        assert cause.explanation == "sample 5 of the batch: not all of its values are finite"

    def test_a_finite_sample_is_named_with_where_it_showed(self) -> None:
        x_BF = BATCHES[0][0].clone()
        x_BF[6] = 3e38
        model = nn.Sequential(nn.Linear(4, 3))
        parts = Parts.of(model, lambda batch: (model(batch[0]) * 1e3).sum())
        cause = found(parts, (x_BF, BATCHES[0][1]))
        assert (cause.kind, cause.samples) == (CauseKind.BAD_INPUT, (6,))

    def test_more_than_five_samples_are_not_all_written_out(self) -> None:
        batch = (BATCHES[0][0] * math.nan, BATCHES[0][1])
        cause = found(Parts.of(), batch)
        assert cause.samples == tuple(range(8))
        assert cause.explanation.startswith("samples 0, 1, 2, 3, 4 ... of the batch: ")


@dataclasses.dataclass(frozen=True, slots=True)
class Labels:
    y: Tensor


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    x: Tensor
    labels: Labels


class Pair(NamedTuple):
    x: Tensor
    labels: Labels


class TestBatchesOfOtherKinds:
    @staticmethod
    def parts() -> Parts:
        parts = Parts.of()
        plain = parts.loss
        return Parts.of(parts.model, lambda batch: plain((batch.x, batch.labels.y)))

    @pytest.mark.parametrize("kind", [Record, Pair])
    def test_a_bad_row_is_named_by_its_values(self, kind: Callable[..., Any]) -> None:
        x, y = with_nan(BATCHES[0], row=5)
        cause = found(self.parts(), kind(x, Labels(y)))
        assert (cause.kind, cause.samples, cause.module) == (CauseKind.BAD_INPUT, (5,), "inner")

    @pytest.mark.parametrize("kind", [Record, Pair])
    def test_a_finite_one_by_leaving_it_out(self, kind: Callable[..., Any]) -> None:
        x_BF = BATCHES[0][0].clone()
        x_BF[6] = 3e38
        model = nn.Sequential(nn.Linear(4, 3))
        parts = Parts.of(model, lambda batch: (model(batch.x) * 1e3).sum())
        cause = found(parts, kind(x_BF, Labels(BATCHES[0][1])))
        assert (cause.kind, cause.samples) == (CauseKind.BAD_INPUT, (6,))


class TestNotReproducible:
    def test_a_loss_that_went_wrong_once(self) -> None:
        cause = found(spoilt(once(lambda loss: loss * math.nan)), BATCHES[0])
        assert (cause.kind, cause.deterministic, cause.replays) == (CauseKind.NOT_REPRODUCIBLE, True, 2)

    def test_a_gradient_that_went_wrong_once_needs_no_second_replay(self) -> None:
        cause = found(spoilt(once(lambda loss: loss + (loss * 0).sqrt())), BATCHES[0])
        assert (cause.kind, cause.deterministic, cause.replays) == (CauseKind.NOT_REPRODUCIBLE, True, 1)

    def test_a_program_that_differs_each_time(self) -> None:
        calls = [0]

        def differs(loss: Tensor) -> Tensor:
            calls[0] += 1
            return loss * (math.nan if calls[0] == 1 else calls[0])

        cause = found(spoilt(differs), BATCHES[0])
        assert (cause.kind, cause.deterministic) == (CauseKind.NOT_REPRODUCIBLE, False)
        assert "is not deterministic" in cause.explanation

    def test_so_is_one_whose_gradients_alone_differ(self) -> None:
        calls = [0]

        def differs(loss: Tensor) -> Tensor:
            calls[0] += 1
            return loss * math.nan if calls[0] == 1 else loss + calls[0] * (loss - loss.detach())

        assert found(spoilt(differs), BATCHES[0]).deterministic is False

    def test_and_one_whose_loss_alone_differs(self) -> None:
        calls = [0]

        def differs(loss: Tensor) -> Tensor:
            calls[0] += 1
            return loss * math.nan if calls[0] == 1 else loss + calls[0]

        assert found(spoilt(differs), BATCHES[0]).deterministic is False


class TestForward:
    def test_a_module_that_makes_it(self) -> None:
        cause = found(with_forward("norm", lambda x: (x + 100).exp()), BATCHES[0])
        assert (cause.kind, cause.module, cause.module_type, cause.operation) == (
            CauseKind.NONFINITE_ACTIVATION,
            "norm",
            "BatchNorm1d",
            "exp",
        )
        assert str(cause.where).startswith(__file__)
        assert "norm (BatchNorm1d) makes values that are not finite out of finite ones, in exp at" in cause.explanation

    def test_the_loss_function(self) -> None:
        cause = found(spoilt(lambda loss: torch.log(-loss)), BATCHES[0])
        assert (cause.kind, cause.module, cause.operation) == (CauseKind.LOSS_FUNCTION, None, "log")

    def test_running_statistics_alone(self) -> None:
        """Of every sample: without any one of them it would be the same."""
        x_BF = spoils_statistics(BATCHES[0])[0]
        x_BF[1::2] = -1e25
        x_BF[::2] = 1e25
        cause = found(Parts.of(), (x_BF, BATCHES[0][1]))
        assert (cause.kind, cause.parameter, cause.module) == (
            CauseKind.NONFINITE_ACTIVATION,
            "norm.running_var",
            "norm",
        )

    @pytest.mark.parametrize("sees", [True, False])
    def test_a_value_that_the_model_made_and_replaced(self, sees: bool) -> None:
        parts = Parts.of()
        plain = parts.loss

        def loss(batch: Any) -> Tensor:
            value = plain(batch)
            return torch.nan_to_num(torch.log(-value), nan=0.0) + value if sees else value

        parts = Parts.of(parts.model, loss, settings=UpdateSettings(sanitized=lambda: torch.tensor(1)))
        attempt = parts.flagged(BATCHES[0])
        cause = cause_of(parts, attempt)
        if not sees:
            assert cause is None
            return
        assert cause is not None
        assert (cause.kind, cause.operation) == (CauseKind.NONFINITE_ACTIVATION, "log")
        assert "the model counts 1 that it replaced, in log at" in cause.explanation


class TestBackward:
    def test_the_loss_function_is_named_where_no_module_is(self) -> None:
        cause = found(spoilt(lambda loss: loss + (loss * 0).sqrt()), BATCHES[0])
        assert (cause.kind, cause.module, cause.operation) == (CauseKind.BACKWARD_ONLY, None, "SqrtBackward0")
        assert "stops being so in the loss function, in SqrtBackward0 at" in cause.explanation

    def test_the_parameter_is_named_where_no_node_is(self) -> None:
        parts = Parts.of()
        parts.model.get_parameter("outer.bias").register_hook(lambda gradient: gradient * math.nan)  # type: ignore[no-untyped-call]
        cause = found(parts, BATCHES[0])
        assert (cause.kind, cause.parameter, cause.module) == (CauseKind.BACKWARD_ONLY, "outer.bias", "outer")


class TestLarge:
    def test_the_parameter_with_the_largest_share(self) -> None:
        parts = Parts.of()
        parts.model.get_parameter("inner.bias").register_hook(lambda gradient: gradient + 3e25)  # type: ignore[no-untyped-call]
        cause = found(parts, BATCHES[0])
        assert (cause.kind, cause.parameter, cause.module) == (CauseKind.GRADIENT_EXPLOSION, "inner.bias", "inner")
        assert "inner.bias carries 100% of the squared norm 6.71e+25" in cause.explanation

    def test_replaced_values_alone_are_no_explosion(self) -> None:
        parts = Parts.of(settings=UpdateSettings(sanitized=lambda: torch.tensor(1)))
        attempt = parts.flagged(BATCHES[0])
        assert cause_of(parts, attempt) is None


def test_a_replay_that_raises_where_the_step_did_not_is_no_cause() -> None:
    calls = [0]

    def raises(loss: Tensor) -> Tensor:
        calls[0] += 1
        if calls[0] > 1:
            raise ValueError("not twice")
        return loss * math.nan

    with pytest.raises(DiagnosisFailed, match="a replay raised ValueError: not twice"):
        found(spoilt(raises), BATCHES[0])


def test_a_parameter_of_the_optimizer_alone_has_no_module() -> None:
    loose = nn.Parameter(torch.ones(2))
    model = Parts.of().model
    parts = Parts.of(model, optimizer=torch.optim.Adam([*model.parameters(), loose]))
    attempt = parts.measured(BATCHES[0])
    seen = attempt.seen
    attempt.observation = dataclasses.replace(seen, bad_optimizer_state=("param_groups.0.6.exp_avg",))
    cause = cause_of(parts, attempt)
    assert cause is not None
    assert (cause.parameter, cause.state_key, cause.module) == ("param_groups.0.6", "exp_avg", None)
