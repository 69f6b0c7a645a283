"""The measurement of an update, on real gradients of every kind that torch makes, and the check of the state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

from supervisor.records import Observation
from supervisor.training.inspection import GradientInspection, StateCheck
from supervisor.training.modules import parameter_names
from supervisor.training.state import Subject


def measured(
    *grads: Tensor | None,
    loss: float = 0.5,
    sanitized: Tensor | None = None,
    buffers: Sequence[tuple[str, Tensor]] = (),
) -> Observation:
    parameters = {}
    for index, grad in enumerate(grads):
        like = torch.zeros(1) if grad is None else torch.zeros(grad.shape, dtype=grad.dtype)
        parameter = nn.Parameter(like)
        parameter.grad = grad
        parameters[parameter] = f"p{index}"
    return measure(torch.tensor(loss, requires_grad=True), parameters, sanitized, buffers)


def measure(
    loss: Tensor,
    names: dict[Tensor, str],
    sanitized: Tensor | None = None,
    buffers: Sequence[tuple[str, Tensor]] = (),
) -> Observation:
    value, norm, count, flaws = GradientInspection(names).measure(loss, sanitized, buffers)
    return Observation(0, 0, value, norm, sanitized=count, **(flaws or {}))


def spoiled(size: int, index: int, value: float, dtype: torch.dtype = torch.float32) -> Tensor:
    grad = torch.ones(size, dtype=dtype)
    grad[index] = value
    return grad


class TestMeasure:
    def test_the_norm_is_that_of_torch(self) -> None:
        grads = [torch.randn(7, 5), torch.randn(3), torch.randn(2, 2, 2)]
        expected = torch.nn.utils.get_total_norm(grads)
        found = measured(*grads, loss=0.25)
        assert found.loss == 0.25
        assert found.grad_norm == pytest.approx(expected.item(), rel=1e-6)
        assert (found.gradient_elements_finite, found.gradient_max_abs, found.bad_gradients, found.sanitized) == (
            True,
            None,
            (),
            0,
        )

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("index", [0, 4095, 9999])
    def test_one_bad_element_is_found_wherever_it_is(self, value: float, index: int) -> None:
        found = measured(torch.ones(3), spoiled(10_000, index, value), torch.ones(2))
        assert not found.gradient_elements_finite
        assert found.bad_gradients == ("p1",)
        assert not math.isfinite(found.grad_norm)

    def test_all_bad_gradients_are_named_in_order(self) -> None:
        found = measured(spoiled(2, 0, math.nan), torch.ones(1), spoiled(2, 1, math.inf))
        assert found.bad_gradients == ("p0", "p2")

    def test_opposite_infinities_do_not_cancel(self) -> None:
        found = measured(torch.tensor([math.inf, -math.inf]))
        assert found.bad_gradients == ("p0",)

    @pytest.mark.parametrize("loss", [math.nan, math.inf])
    def test_a_bad_loss_is_reported_as_it_is(self, loss: float) -> None:
        found = measured(torch.ones(2), loss=loss)
        assert repr(found.loss) == repr(loss)
        assert found.gradient_elements_finite
        assert found.grad_norm == pytest.approx(math.sqrt(2))

    @pytest.mark.parametrize("element", [2e19, 1e30, 3e38])
    def test_finite_elements_whose_norm_overflows_float32(self, element: float) -> None:
        found = measured(torch.ones(3), torch.full((4,), element))
        assert found.gradient_elements_finite
        assert found.bad_gradients == ()
        assert found.gradient_max_abs == pytest.approx(element, rel=1e-6)

    def test_elements_beyond_the_bound_are_reported_though_the_norm_is_finite(self) -> None:
        found = measured(torch.tensor([3e18, -4e18]))
        assert found.grad_norm == pytest.approx(5e18, rel=1e-6)
        assert found.gradient_max_abs == pytest.approx(4e18, rel=1e-6)

    def test_many_large_elements_below_the_bound_are_reported_with_the_largest(self) -> None:
        found = measured(torch.full((10_000,), 5e17))
        assert found.gradient_max_abs == pytest.approx(5e17, rel=1e-6)

    def test_float64_gradients(self) -> None:
        assert measured(torch.full((2,), 1e17, dtype=torch.float64)).gradient_max_abs is None
        huge = measured(torch.full((2,), 1e300, dtype=torch.float64))
        assert huge.gradient_elements_finite
        assert huge.gradient_max_abs == 1e300
        assert measured(spoiled(3, 1, math.nan, torch.float64)).bad_gradients == ("p0",)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_gradients_are_accumulated_in_float32(self, dtype: torch.dtype) -> None:
        found = measured(torch.full((90_000,), 300.0, dtype=dtype))
        assert found.grad_norm == pytest.approx(90_000, rel=1e-3)
        assert found.gradient_max_abs is None
        assert measured(spoiled(10, 3, math.inf, dtype)).bad_gradients == ("p0",)

    def test_mixed_types_make_one_norm(self) -> None:
        found = measured(*(torch.full((1,), 3.0, dtype=d) for d in (torch.float16, torch.float32, torch.float64)))
        assert found.grad_norm == pytest.approx(math.sqrt(27), rel=1e-6)

    def test_sparse_gradients(self) -> None:
        def sparse(*values: float) -> Tensor:
            return torch.sparse_coo_tensor(
                torch.tensor([[1, 1][: len(values)]]), torch.tensor(values), (4,), check_invariants=True
            )

        # Entries of the same place are one element: 3 + 4.
        assert measured(sparse(3.0, 4.0)).grad_norm == pytest.approx(7.0)
        assert measured(sparse(math.nan)).bad_gradients == ("p0",)
        assert measured(sparse(1e30)).gradient_max_abs == pytest.approx(1e30)
        embedding = nn.Embedding(5, 2, sparse=True)
        loss = embedding(torch.tensor([1, 1, 3])).sum()
        loss.backward()
        found = measure(loss, {embedding.weight: "w"}, None)
        assert found.grad_norm == pytest.approx(math.sqrt(4 + 4 + 1 + 1))

    def test_complex_parameters(self) -> None:
        assert measured(torch.tensor([3 + 4j])).grad_norm == pytest.approx(5.0)
        assert measured(torch.tensor([complex(1, math.nan)])).bad_gradients == ("p0",)
        assert measured(torch.tensor([complex(0, 1e30)])).gradient_max_abs == pytest.approx(1e30)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_spoilt_buffer_beside_finite_gradients_is_named_and_is_no_part_of_their_norm(self, value: float) -> None:
        buffers = [("sound", torch.full((3,), 7.0)), ("spoilt", spoiled(5, 2, value)), ("half", torch.ones(2).half())]
        found = measured(torch.ones(4), buffers=buffers)
        assert found.bad_buffers == ("spoilt",)
        assert found.grad_norm == pytest.approx(2.0)
        assert found.gradient_elements_finite
        assert measured(torch.ones(4), buffers=buffers, sanitized=torch.tensor(3)).sanitized == 3

    def test_finite_buffers_whose_norm_overflows_are_sound(self) -> None:
        assert measured(torch.ones(4), buffers=[("large", torch.full((3,), 1e30))]).bad_buffers == ()

    @pytest.mark.parametrize(("gradient", "loss"), [(1.0, math.nan), (math.nan, 0.5), (1e30, 0.5)])
    def test_the_buffers_of_a_batch_that_is_known_to_be_bad_are_not_named(self, gradient: float, loss: float) -> None:
        found = measured(torch.full((2,), gradient), loss=loss, buffers=[("spoilt", torch.full((3,), math.nan))])
        assert found.bad_buffers == ()

    def test_a_conjugated_gradient(self) -> None:
        weight = nn.Parameter(torch.tensor([3 + 4j]))
        weight.grad = torch.tensor([3 + 4j]).conj()
        assert weight.grad.is_conj()
        assert measure(torch.tensor(0.0), {weight: "w"}, None).grad_norm == pytest.approx(5.0)

    def test_parameters_without_gradients_and_empty_ones_count_nothing(self) -> None:
        found = measured(None, torch.zeros(0), torch.ones(4), torch.zeros(3, 0))
        assert found.grad_norm == 2.0
        assert measured(torch.zeros(0), torch.full((2,), 1e30)).gradient_max_abs == pytest.approx(1e30)
        assert measured(None).grad_norm == 0.0
        assert measured().grad_norm == 0.0

    def test_values_replaced_are_counted_whatever_holds_the_count(self) -> None:
        for count in (torch.tensor(3), torch.tensor(3.0), torch.tensor([3])):
            assert measured(torch.ones(1), sanitized=count).sanitized == 3
        assert measured(spoiled(2, 0, math.nan), sanitized=torch.tensor(4)).sanitized == 4
        assert measured(torch.full((2,), 1e30), sanitized=torch.tensor(4)).sanitized == 4

    def test_nothing_is_changed(self) -> None:
        weight = nn.Parameter(torch.ones(3))
        weight.grad = torch.tensor([1.0, math.nan, math.inf])
        before = weight.grad.clone()
        measure(torch.tensor(0.0), {weight: "w"}, None)
        assert torch.equal(weight.grad.nan_to_num(9.0), before.nan_to_num(9.0))
        assert torch.equal(weight.detach(), torch.ones(3))


def test_parameters_of_the_optimizer_alone_have_names_too() -> None:
    model, loose = nn.Linear(2, 1), nn.Parameter(torch.ones(1))
    optimizer = SGD([{"params": [model.weight]}, {"params": [model.bias, loose]}], lr=0.1)
    assert list(parameter_names(model, optimizer).values()) == ["weight", "bias", "param_groups.1.1"]


class Masked(nn.Module):
    """A layer with a causal mask of -inf, a hidden buffer and an empty one."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("mask", torch.full((3, 3), -math.inf).triu(1))
        self.register_buffer("hidden", torch.zeros(3), persistent=False)
        self.register_buffer("empty", torch.zeros(0))
        self.register_buffer("none", None)

    def forward(self, x: Tensor) -> Tensor:
        return (self.norm(self.linear(x)) @ self.mask.softmax(-1)).sum()


def trained(make: Callable[[nn.Module], torch.optim.Optimizer]) -> tuple[Masked, torch.optim.Optimizer, StateCheck]:
    torch.manual_seed(0)
    model = Masked()
    optimizer = make(model)
    check = StateCheck(model, optimizer)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(4, 3)).square().backward()
        optimizer.step()
    return model, optimizer, check


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return Adam(model.parameters(), lr=0.01)


class TestStateCheck:
    def test_a_healthy_state_is_finite_and_its_mask_exempt(self) -> None:
        _, _, check = trained(adam)
        assert check.exempt_buffers == ("mask",)
        assert check.is_finite()
        assert check.bad_parameters() == check.bad_optimizer_state() == ()

    def test_the_buffers_looked_at_each_step_are_those_that_a_norm_can_judge(self) -> None:
        class Kinds(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.norm = nn.BatchNorm1d(2)
                self.register_buffer("mask", torch.full((3, 3), -math.inf).triu(1))
                self.register_buffer("lowest", torch.full((2,), torch.finfo(torch.float32).min))
                self.register_buffer("chosen", torch.ones(2, dtype=torch.bool))
                self.register_buffer("last", None)

        model = Kinds()
        check = StateCheck(model, SGD(model.parameters(), lr=0.1))
        assert [name for name, _ in check.buffers_in_use()] == ["norm.running_mean", "norm.running_var"]
        model.last = torch.ones(4)
        model.norm.running_var = torch.zeros(2)
        found = dict(check.buffers_in_use())
        assert set(found) == {"norm.running_mean", "norm.running_var", "last"}
        assert found["norm.running_var"] is model.norm.running_var
        assert found["last"] is model.last

    def test_only_the_exempt_elements_of_a_mask_are_exempt(self) -> None:
        model, _, check = trained(adam)
        model.mask[2, 0] = -math.inf
        assert check.bad_parameters() == ("mask",)
        assert not check.is_finite()

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    @pytest.mark.parametrize("name", ["linear.weight", "norm.bias", "norm.running_var", "hidden"])
    def test_one_bad_element_is_named(self, name: str, value: float) -> None:
        model, _, check = trained(adam)
        tensor = dict([*model.named_parameters(), *model.named_buffers()])[name]
        with torch.no_grad():
            tensor.view(-1)[-1] = value
        assert check.bad_parameters() == (name,)
        assert not check.is_finite()
        assert check.bad_optimizer_state() == ()

    def test_a_poisoned_second_moment_is_named(self) -> None:
        model, optimizer, check = trained(adam)
        optimizer.state[model.linear.weight]["exp_avg_sq"][1, 1] = math.nan
        assert check.bad_optimizer_state() == ("linear.weight.exp_avg_sq",)
        assert check.bad_parameters() == ()
        assert not check.is_finite()

    def test_a_captured_state_is_judged_by_the_same_rule(self) -> None:
        model, optimizer, check = trained(adam)
        subject = Subject(model, optimizer, None, None, {}, parameter_names(model, optimizer))
        assert check.bad_in(subject.capture()) == ()
        with torch.no_grad():
            model.linear.bias[0] = math.nan
        model.hidden[0] = math.inf
        optimizer.state[model.norm.weight]["exp_avg"][0] = math.nan
        state = subject.capture()
        assert set(check.bad_in(state)) == {"linear.bias", "hidden", "norm.weight.exp_avg"}
        model.mask[2, 0] = math.nan
        assert "mask" in check.bad_in(subject.capture())

    def test_a_mask_that_grew_is_judged_whole(self) -> None:
        model, _, check = trained(adam)
        model.mask = torch.full((4, 4), -math.inf).triu(1)
        assert check.bad_parameters() == ("mask",)
        model.mask = torch.zeros(4, 4)
        assert check.bad_parameters() == ()

    def test_loose_parameters_are_checked_too(self) -> None:
        model, loose = nn.Linear(1, 1), nn.Parameter(torch.ones(2))
        check = StateCheck(model, SGD([*model.parameters(), loose], lr=0.1))
        with torch.no_grad():
            loose[1] = math.nan
        assert check.bad_parameters() == ("param_groups.0.2",)

    def test_finite_values_whose_norm_overflows_are_finite(self) -> None:
        model, optimizer, check = trained(adam)
        optimizer.state[model.linear.weight]["exp_avg_sq"].fill_(3e38)
        with torch.no_grad():
            model.linear.weight.fill_(1e30)
        assert check.is_finite()
        assert check.bad_parameters() == check.bad_optimizer_state() == ()
