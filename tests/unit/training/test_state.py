"""Capture and restore: every tensor as it was, for every optimizer and scheduler, as often as one likes."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RMSprop
from torch.optim import lr_scheduler as schedulers

from supervisor.training.modules import parameter_names
from supervisor.training.rng import preserved_rng
from supervisor.training.state import Subject, TrainingState
from supervisor.training.tree import clone, plain, tensors

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd-momentum": lambda p: SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: Adam(p, lr=0.01),
    "adam-amsgrad": lambda p: Adam(p, lr=0.01, amsgrad=True),
    "adamw-for-loop": lambda p: AdamW(p, lr=0.01, foreach=False),
    "adamw-foreach": lambda p: AdamW(p, lr=0.01, foreach=True),
    "adamw-fused": lambda p: AdamW(p, lr=0.01, fused=True),
    "adamw-tensor-lr": lambda p: AdamW(p, lr=torch.tensor(0.01), foreach=False),
    "rmsprop": lambda p: RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "adagrad": lambda p: Adagrad(p, lr=0.05),
    "nadam": lambda p: NAdam(p, lr=0.01),
}

SCHEDULERS: dict[str, Callable[[Optimizer], schedulers.LRScheduler]] = {
    "lambda": lambda o: schedulers.LambdaLR(o, lambda step: 0.9**step),
    "multistep": lambda o: schedulers.MultiStepLR(o, [3, 6]),
    "one-cycle": lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=60),
    "cyclic": lambda o: schedulers.CyclicLR(o, 0.01, 0.1, 3),
    "cosine-restarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 4),
    "plateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=1),
    "sequential": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.1, 1.0, 4), schedulers.CosineAnnealingLR(o, 20)], [4]
    ),
    "chained": lambda o: schedulers.ChainedScheduler(
        [schedulers.ConstantLR(o, 0.5, 4), schedulers.ExponentialLR(o, 0.9)]
    ),
}


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    with preserved_rng():
        torch.manual_seed(0)
        yield


class Model(nn.Module):
    """BatchNorm, dropout, a non-persistent buffer, one replaced by assignment, and extra state."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.3)
        self.last = nn.Linear(8, 2)
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("hidden", torch.zeros(2), persistent=False)
        self.register_buffer("average", torch.zeros(2))
        self.register_buffer("nothing", None)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.dropout(self.norm(self.first(x))))
        self.hidden += 1
        self.average = 0.9 * self.average + 0.1 * y.detach().mean(0)
        self.calls += 1
        return y * self.frozen

    def get_extra_state(self) -> dict[str, Any]:
        return {"calls": self.calls, "tensor": torch.tensor([self.calls])}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.calls = state["calls"]


class Average:
    """An exponential moving average of the weights that keeps the tensors it is handed, as careless ones do."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.shadow = {name: p.detach().clone() for name, p in model.named_parameters()}

    def update(self) -> None:
        for name, parameter in self.model.named_parameters():
            self.shadow[name].lerp_(parameter.detach(), 0.1)

    def state_dict(self) -> dict[str, Any]:
        return self.shadow

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.shadow = state


class Training:
    """A small training with everything that a step can change."""

    def __init__(self, optimizer: str = "adamw-foreach", scheduler: str | None = None, seed: int = 0) -> None:
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        self.model = Model()
        params = [{"params": self.model.first.parameters()}, {"params": [*self.model.norm.parameters()], "lr": 0.02}]
        params.append({"params": self.model.last.parameters(), "weight_decay": 0.1})
        self.optimizer = OPTIMIZERS[optimizer](params)
        self.scheduler = SCHEDULERS[scheduler](self.optimizer) if scheduler else None
        self.average = Average(self.model)
        names = parameter_names(self.model, self.optimizer)
        self.subject = Subject(self.model, self.optimizer, self.scheduler, None, {"average": self.average}, names)

    def forward(self) -> Tensor:
        x = torch.randn(6, 4) + random.random() + float(np.random.randn())
        loss: Tensor = self.model(x).square().mean()
        return loss

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.optimizer.zero_grad()
            loss = self.forward()
            loss.backward()
            self.optimizer.step()
            if isinstance(self.scheduler, schedulers.ReduceLROnPlateau):
                self.scheduler.step(loss.item())
            elif self.scheduler is not None:
                self.scheduler.step()
            self.average.update()

    def everything(self) -> dict[str, Any]:
        """The state as the torch objects themselves tell it."""
        return copy.deepcopy(
            {
                "parameters": {n: p.detach() for n, p in self.model.named_parameters()},
                "buffers": {f"{p}.{k}": b for p, m in self.model.named_modules() for k, b in m._buffers.items()},
                "calls": self.model.calls,
                "optimizer": self.optimizer.state_dict(),
                "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
                "average": self.average.shadow,
                "torch": torch.get_rng_state(),
                "numpy": repr(np.random.get_state(legacy=True)),
                "python": random.getstate(),
            }
        )


def assert_same(a: Any, b: Any, path: str = "state") -> None:
    """Bit for bit, types included."""
    assert type(a) is type(b), path
    if isinstance(a, Tensor):
        assert a.dtype == b.dtype, path
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert list(a) == list(b), path
        for key in a:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}.{index}")
    elif hasattr(a, "__dict__") and not callable(a):
        assert_same(vars(a), vars(b), path)
    elif not callable(a):
        assert a == b, path


class TestWholeState:
    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_what_follows_a_restore_is_what_followed_the_capture(self, optimizer: str) -> None:
        training = Training(optimizer)
        training.step(3)
        before = training.everything()
        state = training.subject.capture()
        assert_same(training.everything(), before)
        training.step(4)
        expected = training.everything()
        for _ in range(3):
            training.step(2)
            training.subject.restore(state)
            assert_same(training.everything(), before)
            training.step(4)
            assert_same(training.everything(), expected)

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_a_state_taken_before_the_first_step_clears_the_optimizer(self, optimizer: str) -> None:
        training = Training(optimizer)
        before, state = training.everything(), training.subject.capture()
        training.step(3)
        expected = training.everything()
        training.subject.restore(state)
        if optimizer != "adagrad":  # the only one that makes its state when it is built
            assert not training.optimizer.state
        assert_same(training.everything(), before)
        training.step(3)
        assert_same(training.everything(), expected)

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_restoring_writes_nothing_into_the_snapshot(self, optimizer: str) -> None:
        training = Training(optimizer, "one-cycle" if optimizer in ("adam", "sgd-momentum") else None)
        training.step(2)
        state = training.subject.capture()
        untouched = clone(state.to_tree())
        for _ in range(2):
            training.subject.restore(state)
            held = {t.data_ptr() for _, t in tensors(state.to_tree()) if t.numel()}
            live = [*training.model.parameters(), *training.model.buffers(), *training.average.shadow.values()]
            live += [t for _, t in tensors(list(training.optimizer.state.values()))]
            live += [t for _, t in tensors(training.optimizer.param_groups)]
            assert not held & {t.data_ptr() for t in live}
            training.step(3)
        assert_same(state.to_tree(), untouched)

    @pytest.mark.parametrize("scheduler", SCHEDULERS)
    def test_every_scheduler_goes_on_alike(self, scheduler: str) -> None:
        training = Training("sgd-momentum", scheduler)
        training.step(5)
        before, state = training.everything(), training.subject.capture()
        training.step(6)
        expected = training.everything()
        training.subject.restore(state)
        assert_same(training.everything(), before)
        training.step(6)
        assert_same(training.everything(), expected)

    @pytest.mark.parametrize("scheduler", [None, *SCHEDULERS])
    def test_a_new_process_goes_on_alike(self, scheduler: str | None, tmp_path: Any) -> None:
        training = Training("adamw-fused", scheduler)
        training.step(5)
        torch.save(plain(training.subject.capture().to_tree()), tmp_path / "state.pt")
        training.step(4)
        resumed = Training("adamw-fused", scheduler, seed=99)
        state = TrainingState.from_tree(torch.load(tmp_path / "state.pt", weights_only=True))
        assert resumed.subject.misfit(state) is None
        resumed.subject.restore(state)
        resumed.step(4)
        after, expected = resumed.everything(), training.everything()
        for each in (after, expected):
            each.pop("scheduler")
        assert_same(after, expected)
        rates = [[group["lr"] for group in each.optimizer.param_groups] for each in (training, resumed)]
        assert rates[0] == rates[1]

    def test_a_loaded_optimizer_keeps_its_step_counter_on_the_host_and_its_types(self) -> None:
        training = Training("adam")
        training.model.double()
        training.optimizer.zero_grad()
        training.model(torch.randn(6, 4, dtype=torch.float64)).sum().backward()
        training.optimizer.step()
        state = training.subject.capture()
        training.subject.restore(state)
        held = training.optimizer.state[training.model.first.weight]
        assert held["exp_avg"].dtype is torch.float64
        assert held["step"].dtype is torch.float32

    def test_a_snapshot_stays_out_of_reach_of_an_optimizer_whose_state_was_cleared(self) -> None:
        training = Training("adam")
        training.step(2)
        state = training.subject.capture()
        untouched = clone(state.to_tree())
        training.optimizer.state.clear()
        training.subject.restore(state)
        training.step(2)
        assert_same(state.to_tree(), untouched)

    def test_a_snapshot_stays_out_of_reach_of_a_scheduler_that_keeps_what_it_is_handed(self) -> None:
        class Remembering(schedulers.LRScheduler):
            def __init__(self, optimizer: Optimizer) -> None:
                self.history: list[float] = []
                super().__init__(optimizer)

            def get_lr(self) -> list[float | Tensor]:
                self.history.append(self.last_epoch)
                return [0.9**self.last_epoch for _ in self.optimizer.param_groups]

        training = Training()
        training.scheduler = training.subject.scheduler = Remembering(training.optimizer)
        training.step(2)
        state = training.subject.capture()
        for _ in range(2):
            training.step(2)
            training.subject.restore(state)
            assert training.scheduler.history == [0, 1, 2]

    def test_gradients_are_forgotten(self) -> None:
        training = Training()
        state = training.subject.capture()
        training.forward().backward()
        training.subject.restore(state)
        assert all(p.grad is None for p in training.model.parameters())

    def test_a_missing_field_is_refused(self) -> None:
        tree = Training().subject.capture().to_tree()
        assert set(tree) == {
            "parameters",
            "buffers",
            "module_extra",
            "optimizer",
            "scheduler",
            "scaler",
            "extra",
            "rng",
        }
        for name in tree:
            with pytest.raises(KeyError, match=name):
                TrainingState.from_tree({key: value for key, value in tree.items() if key != name})


class TestDiscardedUpdate:
    def test_a_forward_and_backward_leave_no_trace(self) -> None:
        training = Training()
        training.step(2)
        before = training.everything()
        volatile = training.subject.capture_volatile()
        training.forward().backward()
        training.average.update()
        assert not torch.equal(training.model.norm.running_mean, before["buffers"]["norm.running_mean"])
        assert training.model.calls == 3
        training.subject.discard_update(volatile)
        assert_same(training.everything(), before)
        assert all(p.grad is None for p in training.model.parameters())

    def test_a_poisoned_running_mean_is_healed(self) -> None:
        training = Training()
        volatile = training.subject.capture_volatile()
        training.model(torch.full((3, 4), float("nan")))
        assert training.model.norm.running_mean.isnan().any()
        training.subject.discard_update(volatile)
        assert torch.equal(training.model.norm.running_mean, torch.zeros(8))
        assert training.model.norm.num_batches_tracked.item() == 0

    def test_buffers_updated_in_place_keep_their_storage(self) -> None:
        training = Training()
        address = training.model.norm.running_mean.data_ptr()
        volatile = training.subject.capture_volatile()
        training.forward()
        training.subject.discard_update(volatile)
        assert training.model.norm.running_mean.data_ptr() == address


class Keeper(nn.Module):
    """Does to its buffers whatever `act` says."""

    def __init__(self, act: Callable[[Keeper, Tensor], None]) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)
        self.register_buffer("kept", torch.tensor([1.0, 2.0]))
        self.register_buffer("unset", None)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        self.act(self, x)
        return self.linear(x).sum()


def appear(model: Keeper, x: Tensor) -> None:
    if not hasattr(model, "late"):
        model.register_buffer("late", torch.zeros(3))
    model.late += 1


def disappear(model: Keeper, x: Tensor) -> None:
    if hasattr(model, "kept"):
        del model.kept


def assign(model: Keeper, x: Tensor) -> None:
    model.kept = x


def fill(model: Keeper, x: Tensor) -> None:
    model.unset = x.clone()


def empty(model: Keeper, x: Tensor) -> None:
    model.kept = None


def grow(model: Keeper, x: Tensor) -> None:
    model.kept = torch.zeros(5)


def retype(model: Keeper, x: Tensor) -> None:
    model.kept = model.kept.double()


def broadcast(model: Keeper, x: Tensor) -> None:
    model.kept = torch.ones(1).expand(2)


def under_inference(model: Keeper, x: Tensor) -> None:
    with torch.inference_mode():
        model.kept = x * 2


@pytest.mark.parametrize(
    "act", [appear, disappear, assign, fill, empty, grow, retype, broadcast, under_inference], ids=lambda a: a.__name__
)
class TestBuffersThatComeAndGo:
    def subject(self, act: Callable[[Keeper, Tensor], None]) -> Subject:
        model = Keeper(act)
        optimizer = SGD(model.parameters(), lr=0.1)
        return Subject(model, optimizer, None, None, {}, parameter_names(model, optimizer))

    def check(self, model: nn.Module) -> None:
        assert set(model._buffers) == {"kept", "unset"}
        assert torch.equal(model.kept, torch.tensor([1.0, 2.0]))
        assert model.unset is None
        assert set(model.state_dict()) == {"kept", "linear.weight", "linear.bias"}

    def test_a_discarded_update_leaves_them_as_they_were(self, act: Callable[[Keeper, Tensor], None]) -> None:
        subject = self.subject(act)
        volatile = subject.capture_volatile()
        for _ in range(2):
            subject.model(torch.tensor([5.0, 6.0]))
            subject.discard_update(volatile)
            self.check(subject.model)

    def test_a_reload_restores_them(self, act: Callable[[Keeper, Tensor], None]) -> None:
        subject = self.subject(act)
        state = subject.capture()
        for _ in range(2):
            subject.model(torch.tensor([5.0, 6.0]))
            subject.restore(state)
            self.check(subject.model)

    def test_a_new_process_gets_them_too(self, act: Callable[[Keeper, Tensor], None]) -> None:
        subject, fresh = self.subject(act), self.subject(act)
        subject.model(torch.tensor([5.0, 6.0]))
        fresh.restore(subject.capture())
        assert fresh.model._buffers.keys() == subject.model._buffers.keys()
        for key, buffer in subject.model._buffers.items():
            assert_same(fresh.model._buffers[key], buffer if buffer is None else buffer.clone())

    def test_the_batch_itself_is_never_written_to(self, act: Callable[[Keeper, Tensor], None]) -> None:
        subject = self.subject(act)
        batch = torch.tensor([5.0, 6.0])
        volatile, state = subject.capture_volatile(), subject.capture()
        subject.model(batch)
        subject.discard_update(volatile)
        subject.model(batch)
        subject.restore(state)
        assert torch.equal(batch, torch.tensor([5.0, 6.0]))


class TestMisfit:
    def captured(self, **changed: Any) -> TrainingState:
        tree = Training("sgd-momentum", "lambda").subject.capture().to_tree()
        return TrainingState.from_tree({**tree, **changed})

    def misfit(self, state: TrainingState) -> str | None:
        return Training("sgd-momentum", "lambda").subject.misfit(state)

    def test_its_own_state_fits(self) -> None:
        assert self.misfit(self.captured()) is None

    def test_parameters(self) -> None:
        parameters = self.captured().parameters
        fewer = {name: p for name, p in parameters.items() if name != "last.bias"}
        assert self.misfit(self.captured(parameters=fewer)) == "it has no parameter last.bias"
        renamed = {**fewer, "other.bias": torch.ones(2)}
        told = "it has no parameter last.bias, but has other.bias"
        assert self.misfit(self.captured(parameters=renamed)) == told
        more = {**parameters, "extra": torch.ones(1)}
        assert self.misfit(self.captured(parameters=more)) == "it has a parameter extra that the model lacks"
        other = {**parameters, "last.bias": torch.ones(3)}
        assert self.misfit(self.captured(parameters=other)) == "last.bias has shape (3,), not (2,)"

    def test_optimizer_groups(self) -> None:
        optimizer = self.captured().optimizer
        state = self.captured(optimizer={**optimizer, "groups": optimizer["groups"][:2]})
        assert "has another number of parameter groups (2): add to the optimizer" in str(self.misfit(state))

    def test_scheduler_and_scaler(self) -> None:
        assert self.misfit(self.captured(scheduler=None)) == "one has a scheduler and the other has none"
        assert self.misfit(self.captured(scaler={})) == "one has a gradient scaler and the other has none"

    def test_extra_state(self) -> None:
        assert self.misfit(self.captured(extra={})) == "its extra state is of [], not ['average']"
        reason = self.misfit(self.captured(extra={"other": 1}))
        assert reason == "its extra state is of ['other'], not ['average']"

    def test_modules_with_extra_state(self) -> None:
        reason = self.misfit(self.captured(module_extra={}))
        assert reason == "its modules with extra state are [], not ['']"

    def test_a_buffer_of_a_module_that_is_not_there(self) -> None:
        buffers = {**self.captured().buffers, "gone.mean": torch.ones(1)}
        reason = self.misfit(self.captured(buffers=buffers))
        assert reason == "it has a buffer gone.mean of a module that the model lacks"


class TestScaler:
    def subject(self) -> Subject:
        training = Training("sgd-momentum")
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        return Subject(
            training.model, training.optimizer, None, scaler, {}, parameter_names(training.model, training.optimizer)
        )

    def backward(self, subject: Subject, value: float = 1.0) -> None:
        assert subject.scaler is not None
        subject.scaler.scale(subject.model(torch.randn(4, 4)).sum() * value).backward()
        subject.scaler.unscale_(subject.optimizer)

    def test_an_overflow_is_answered_by_its_own_back_off(self) -> None:
        subject = self.subject()
        before = subject.capture_volatile()
        self.backward(subject, float("inf"))
        subject.discard_update(before)
        assert subject.scaler is not None
        assert subject.scaler.get_scale() == 4.0
        self.backward(subject)
        subject.scaler.step(subject.optimizer)
        subject.scaler.update()
        assert subject.scaler.get_scale() == 4.0

    def test_a_discarded_update_without_overflow_counts_for_nothing(self) -> None:
        subject = self.subject()
        assert subject.scaler is not None
        for _ in range(4):
            before = subject.capture_volatile()
            self.backward(subject)
            subject.discard_update(before)
        assert subject.scaler.get_scale() == 8.0

    def test_its_scale_is_state(self) -> None:
        subject = self.subject()
        assert subject.scaler is not None
        state = subject.capture()
        before = subject.capture_volatile()
        self.backward(subject, float("inf"))
        subject.discard_update(before)
        subject.restore(state)
        assert subject.scaler.get_scale() == 8.0
