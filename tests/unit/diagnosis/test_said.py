"""What a diagnosis says of a real fault: no more than was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.parts import BATCHES, Parts, is_healthy
from torch import Tensor, nn

from supervisor.diagnosis.attribution import Attribution
from supervisor.diagnosis.replay import Replays
from supervisor.records import Cause, CauseKind
from supervisor.testing.tiny import with_nan
from supervisor.update import Attempt

Known = Callable[[], Sequence[Any] | None]


def found(
    parts: Parts, *batches: Any, attempt: Attempt | None = None, before: bool | None = None, known: Known | None = None
) -> Cause:
    attempt = parts.flagged(*batches) if attempt is None else attempt
    replays = Replays(parts.subject, parts.executor, attempt.before, None, attempt.place, most=50)
    with replays.undone():
        cause = Attribution(attempt, 9, replays, is_healthy, before, known_good=known).cause()
    assert cause is not None
    return cause


class Opaque:
    """A batch of a kind that nobody knows how to look into."""

    def __init__(self, x: Tensor) -> None:
        self.x = x


class TestLoss:
    def test_a_nan_out_of_a_batch_that_cannot_be_looked_into_is_no_finite_module(self) -> None:
        model = nn.Sequential(nn.Linear(4, 3))
        parts = Parts.of(model, lambda batch: model(batch.x).square().sum())
        cause = found(parts, Opaque(with_nan(BATCHES[0])[0]))
        assert cause.kind is CauseKind.LOSS_FUNCTION
        assert "every module's output is finite" not in cause.explanation
        assert "0 (Linear) was given values already that are not: a NaN is given to linear" in cause.explanation
        assert "the batch holds Opaque, which was not looked into" in cause.explanation

    def test_nothing_is_claimed_of_a_model_that_is_not_called(self) -> None:
        weight = nn.Linear(4, 3)
        parts = Parts.of(weight, lambda batch: (F.linear(batch[0], weight.weight) * 0 - 1).log().sum())
        cause = found(parts, BATCHES[0])
        assert cause.explanation.startswith("the loss is not finite; no module's output was seen: the loss function")
        assert "in log at" in cause.explanation

    @pytest.mark.parametrize(
        ("loss", "operation", "detail"),
        [
            (
                lambda out: F.cross_entropy(out, torch.full((8,), -100)),
                "cross_entropy",
                "all 8 targets are the ignored -100",
            ),
            (
                lambda out: F.ctc_loss(
                    out.log_softmax(-1).unsqueeze(1), torch.tensor([[1, 1, 1, 1, 1]]), (8,), (5,), reduction="sum"
                ),
                "ctc_loss",
                "sample 0 needs 9 steps for its target and has 8",
            ),
            (lambda out: out[out > 1e9].mean(), "mean", "it is given a tensor without elements"),
        ],
    )
    def test_the_operation_is_named_with_what_was_wrong_about_it(
        self, loss: Callable[[Tensor], Tensor], operation: str, detail: str
    ) -> None:
        model = nn.Sequential(nn.Linear(4, 3))
        cause = found(Parts.of(model, lambda batch: loss(model(batch[0]))), BATCHES[0])
        assert (cause.kind, cause.operation, cause.detail) == (CauseKind.LOSS_FUNCTION, operation, detail)
        assert detail in cause.explanation


class Carries(nn.Module):
    """Adds what it gave last, and begins anew where the batch has another size."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.h: Tensor | None = None

    def forward(self, x_BF: Tensor) -> Tensor:
        if self.h is None or len(self.h) != len(x_BF):
            self.h = x_BF.new_zeros(len(x_BF), 3)
        out: Tensor = self.linear(x_BF) + 0.5 * self.h
        self.h = out.detach()
        return out


class TestHiddenState:
    def parts(self, spoilt: float) -> Parts:
        model = nn.Sequential(Carries())
        parts = Parts.of(model, lambda batch: model(batch[0]).square().mean())
        parts.applied(BATCHES[0])
        model[0].h[3] = spoilt
        return parts

    @pytest.mark.parametrize("spoilt", [math.nan, math.inf])
    def test_no_sample_is_blamed_for_a_bad_attribute(self, spoilt: float) -> None:
        cause = found(parts := self.parts(spoilt), BATCHES[1])
        assert (cause.kind, cause.attributes, cause.module, cause.samples) == (
            CauseKind.HIDDEN_STATE,
            ("0.h",),
            "0",
            (),
        )
        assert "the loss depends on something that no state holds: 0.h" in cause.explanation
        # As the flagged step has left it.
        assert not torch.isfinite(parts.model[0].h).all()  # type: ignore[index, union-attr]

    def test_a_bad_row_that_the_attribute_carries_on_is_blamed_itself(self) -> None:
        cause = found(self.parts(0.0), with_nan(BATCHES[1], row=5))
        assert (cause.kind, cause.samples, cause.attributes) == (CauseKind.BAD_INPUT, (5,), ())

    def test_an_attribute_that_nothing_reads_is_not_blamed(self) -> None:
        model = nn.Sequential(nn.Linear(4, 3))
        model.last = torch.tensor([math.nan])  # type: ignore[assignment]
        cause = found(Parts.of(model, lambda batch: (model(batch[0]) * 0 - 1).log().sum()), BATCHES[1])
        assert (cause.kind, cause.operation) == (CauseKind.LOSS_FUNCTION, "log")


class TestOptimizer:
    def test_one_that_makes_it_out_of_finite_gradients_is_named(self) -> None:
        model = nn.Sequential(nn.Linear(4, 3)).half()
        parts = Parts.of(model, lambda batch: model(batch[0].half()).float().sum() * 1e-5)
        attempt = parts.applied(BATCHES[0])
        attempt.undone = False
        parts.executor.check_state(attempt)
        cause = found(parts, attempt=attempt, before=True)
        assert (cause.kind, cause.after_step, cause.finite_before) == (CauseKind.POISONED_PARAMETER, True, True)
        assert (cause.optimizer, cause.dtype, cause.eps) == ("Adam", "float16", 1e-8)
        assert "was not after optimizer.step of this one, with a finite loss and finite gradients" in cause.explanation
        assert "that eps is zero in float16" in cause.explanation

    def test_it_is_not_where_it_had_not_stepped(self) -> None:
        parts = Parts.of()
        parts.model.get_parameter("inner.bias").data[0] = math.nan
        attempt = parts.flagged(BATCHES[0])
        parts.executor.check_state(attempt)
        cause = found(parts, attempt=attempt, before=True)
        assert (cause.after_step, cause.optimizer) == (False, None)
        assert "before its optimizer had stepped" in cause.explanation


class TestEarlierBatch:
    def test_a_whole_batch_that_is_too_large_is_told_from_a_damaged_state(self) -> None:
        model = nn.Sequential(nn.Linear(4, 3))
        parts = Parts.of(model, lambda batch: (model(batch[0]) * 1e3).square().sum())
        large = (BATCHES[1][0] * 1e24, BATCHES[1][1])
        cause = found(parts, large, known=lambda: (BATCHES[0],))
        assert cause.earlier_batch_healthy is True
        assert cause.explanation.endswith("a batch that was healthy before is healthy in this state too")
        model[0].weight.data.fill_(1e25)
        cause = found(parts, BATCHES[1], known=lambda: (BATCHES[0],))
        assert cause.earlier_batch_healthy is False

    def test_none_is_tried_where_there_is_none(self) -> None:
        model = nn.Sequential(nn.Linear(4, 3))
        parts = Parts.of(model, lambda batch: (model(batch[0]) * 0 - 1).log().sum())
        assert found(parts, BATCHES[1], known=lambda: None).earlier_batch_healthy is None
