"""Where the first value that is not finite came from, in one forward and backward pass."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same
from support.parts import BATCHES, Parts, users_package
from torch import Tensor, nn

from supervisor.diagnosis.trace import Origin, Trace

X = torch.arange(1.0, 7.0).reshape(3, 2)


class Step(nn.Module):
    """Does what it is told."""

    def __init__(self, does: Callable[[Any], Any]) -> None:
        super().__init__()
        self.does = does

    def forward(self, x: Any) -> Any:
        return self.does(x)


LARGE = "the largest number that it is given is 101, in float32"


def overflows(x: Tensor) -> Tensor:
    return (x * 0 + 101).exp()


def watched(model: nn.Module, batch: Any = X, loss: Callable[[Any], Tensor] = torch.sum) -> Trace:
    """The trace of one pass of a model."""
    trace = Trace(model)
    with trace.watching():
        trace.loss(lambda batch: loss(model(batch)))(batch).backward()  # type: ignore[no-untyped-call]
    return trace


def line_in(function: Callable[..., object], text: str) -> str:
    lines, first = inspect.getsourcelines(function)
    return f"{__file__}:{first + next(index for index, line in enumerate(lines) if text in line)}"


class TestForward:
    def test_a_healthy_pass_has_no_origin_of_anything(self) -> None:
        trace = watched(nn.Sequential(nn.Linear(2, 2), nn.Tanh()))
        assert trace.forward_origin() is trace.surfaced() is trace.backward_origin() is trace.first_source() is None
        assert trace.loss_origin() == Origin(None)
        assert [call.module for call in trace.calls] == ["0", "1", ""]

    def test_the_module_that_makes_it_is_named_with_function_and_line(self) -> None:
        trace = watched(nn.Sequential(nn.Linear(2, 2), Step(overflows), nn.Tanh()))
        assert trace.forward_origin() == Origin("1", "exp", line_in(overflows, "exp"), LARGE)
        assert trace.surfaced() == "1"

    def test_one_that_is_given_bad_values_has_made_none(self) -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
        trace = watched(model, torch.full((1, 2), math.nan))
        assert trace.forward_origin() is None
        assert trace.surfaced() == "0"

    def test_the_innermost_is_named(self) -> None:
        trace = watched(nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Sequential(Step(overflows)))))
        origin = trace.forward_origin()
        assert origin is not None
        assert origin.module == "1.0.0"

    def test_the_models_own_forward_is_the_model(self) -> None:
        class Own(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                return overflows(super().forward(x) * 0)

        origin = watched(Own(2, 2)).forward_origin()
        assert origin is not None
        assert (origin.module, origin.operation) == ("", "exp")

    def test_a_bad_value_in_a_dataclass_that_a_module_is_given_was_not_made_by_it(self) -> None:
        @dataclass
        class Out:
            x: Tensor

        model = nn.Sequential(nn.Linear(2, 2), Step(overflows), Step(Out), Step(lambda out: out.x), nn.Tanh())
        trace = watched(model)
        origin = trace.forward_origin()
        assert origin is not None
        assert origin.module == "1"
        assert [call.entering for call in trace.calls[2:5]] == [{"inf"}, {"inf"}, {"inf"}]

    def test_a_module_that_raised_and_was_caught_leaves_the_names_in_order(self) -> None:
        class Tries(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.before = nn.Linear(2, 2)
                self.first = Step(lambda x: {}["none"])
                self.second = Step(overflows)

            def forward(self, x: Tensor) -> Tensor:
                x = self.before(x)
                try:
                    return self.first(x)  # type: ignore[no-any-return]
                except KeyError:
                    return self.second(x)  # type: ignore[no-any-return]

        trace = watched(Tries())
        assert [call.module for call in trace.calls] == ["before", "second", ""]
        assert all(call.began < call.ended for call in trace.calls)
        assert trace.calls[-1].began < trace.calls[0].began
        origin = trace.forward_origin()
        assert origin is not None
        assert origin.module == "second"


class TestInfinitiesThatTheUserWrote:
    @pytest.mark.parametrize(
        "writes",
        [
            lambda x: x.masked_fill(torch.eye(3, 2, dtype=torch.bool), -math.inf),
            lambda x: x.masked_fill(torch.eye(3, 2, dtype=torch.bool), torch.tensor([-math.inf])[0]),
            lambda x: torch.add(x, math.inf),
            lambda x: torch.add(x, other=-math.inf),
        ],
        ids=["fill", "tensor", "argument", "keyword"],
    )
    def test_they_are_no_fault(self, writes: Callable[[Tensor], Tensor]) -> None:
        trace = watched(nn.Sequential(nn.Linear(2, 2), Step(lambda x: torch.softmax(writes(x), 1))), loss=torch.mean)
        assert {operation.name for operation in trace.sources} <= {"softmax"}
        assert "inf" in str(writes(X))

    def test_an_infinity_from_before_the_first_bad_function_does_not_count(self) -> None:
        mask = torch.tensor([0.0, -math.inf])

        class Masked(nn.Linear):
            def forward(self, x: Tensor) -> Any:
                return super().forward(x), mask

        # A module that gives a mask on, then one that goes wrong.
        model = nn.Sequential(Masked(2, 2), Step(lambda both: overflows(both[0] * 0)))
        origin = watched(model).forward_origin()
        assert origin is not None
        assert origin.module == "1"

    def test_where_no_function_was_seen_every_infinity_counts(self) -> None:
        """As in compiled code, whose functions nobody sees."""
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        with torch.no_grad():
            model[1].bias.fill_(math.inf)
        trace = Trace(model)
        with trace.watching():
            model(X)
        assert trace.sources == []
        assert trace.forward_origin() == Origin("1")


class TestLoss:
    def test_the_line_of_the_loss_that_makes_it(self) -> None:
        def loss(out: Tensor) -> Tensor:
            return torch.log(out.sum() * 0 - 1)

        trace = watched(nn.Sequential(nn.Linear(2, 2)), loss=loss)
        assert trace.forward_origin() is None
        assert trace.loss_origin() == Origin(
            None, "log", line_in(loss, "log"), "its argument is negative in 1 of 1 elements"
        )

    def test_what_a_module_makes_and_the_loss_hides_is_not_the_losss(self) -> None:
        trace = watched(
            nn.Sequential(nn.Linear(2, 2), Step(overflows)), loss=lambda out: torch.nan_to_num(out, posinf=0.0).sum()
        )
        assert trace.loss_origin() == Origin(None)
        source = trace.first_source()
        assert source is not None
        assert (source.module, source.operation) == ("1", "exp")

    def test_a_loss_without_a_graph_is_watched_all_the_same(self) -> None:
        trace = Trace(nn.Linear(2, 2))
        assert trace.loss(lambda batch: batch)(3.0) == 3.0  # type: ignore[comparison-overlap, return-value]
        assert math.isnan(float(trace.loss(lambda batch: torch.log(batch))(torch.tensor(-1.0))))
        assert trace.loss_origin().operation == "log"


class TestBackward:
    def test_the_node_that_makes_it_its_module_and_its_line(self) -> None:
        def roots(x: Tensor) -> Tensor:
            return x + (x * 0).sqrt()

        trace = watched(nn.Sequential(nn.Linear(2, 2), nn.Sequential(Step(roots)), nn.Tanh()))
        assert trace.forward_origin() is None
        assert trace.backward_origin() == Origin("1.0", "SqrtBackward0", line_in(roots, "sqrt"))

    def test_outside_of_every_module_it_is_the_losss(self) -> None:
        trace = watched(nn.Sequential(nn.Linear(2, 2)), loss=lambda out: (out.sum() * 0).sqrt())
        origin = trace.backward_origin()
        assert origin is not None
        assert (origin.module, origin.operation) == (None, "SqrtBackward0")

    def test_a_gradient_that_a_hook_spoils_was_received_by_the_node_before(self) -> None:
        def spoilt(x: Tensor) -> Tensor:
            x.register_hook(lambda gradient: gradient * math.nan)
            return x.tanh()

        origin = watched(nn.Sequential(nn.Linear(2, 2), Step(spoilt))).backward_origin()
        assert origin is not None
        # What came into the linear layer's node was bad already, and no node had made it so.
        assert (origin.module, origin.operation) == ("0", "AddmmBackward0")


def test_no_number_changes_and_no_hook_stays() -> None:
    plain, traced = Parts.of(), Parts.of()
    plain.measured(BATCHES[0])
    trace = Trace(traced.model)
    with trace.watching():
        trace.loss(traced.loss)(BATCHES[0]).backward()  # type: ignore[no-untyped-call]
    assert_same(traced.gradients(), plain.gradients())
    assert_same(traced.model.state_dict(), plain.model.state_dict())
    noted = len(trace.calls)
    traced.loss(BATCHES[0])
    assert len(trace.calls) == noted > 0


def test_no_hook_stays_when_the_pass_raises() -> None:
    model = nn.Sequential(Step(lambda x: {}["none"] if x is X else x))
    trace = Trace(model)
    with pytest.raises(KeyError), trace.watching():
        model(X)
    model(X + 1)
    assert trace.calls == []


def test_a_package_whose_name_begins_as_ours_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = users_package(tmp_path, monkeypatch, "def overflows(x):\n    return (x + 100).exp()\n")
    origin = watched(nn.Sequential(nn.Linear(2, 2), Step(package.overflows))).forward_origin()
    assert origin is not None
    assert (origin.module, origin.operation, origin.where) == ("1", "exp", f"{package.__file__}:2")
