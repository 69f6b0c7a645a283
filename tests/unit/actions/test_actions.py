"""What each action does to a real training, and when it says that it cannot act."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from supervisor.actions import Effect, Restored, action_for
from supervisor.errors import ActionError, InputError
from supervisor.policy import (
    DataAfterReload,
    HaltRung,
    LowerLrRung,
    RedrawMethod,
    ReinitializeRung,
    ReloadCheckpointRung,
    SkipBatchRung,
)
from supervisor.training.inspection import parameter_names
from supervisor.training.rng import preserved_rng
from supervisor.training.state import Subject, TrainingState


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    with preserved_rng():
        torch.manual_seed(0)
        yield


class Model(nn.Module):
    def __init__(self, *, recurrent: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.gru = nn.GRU(4, 4) if recurrent else nn.Linear(4, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.gru(self.norm(self.encoder(x)))
        return self.head(y[0] if isinstance(y, tuple) else y)


class Bench:
    """A training with one good state, as the actions see it."""

    def __init__(self, model: nn.Module | None = None) -> None:
        self.model = model or Model()
        self.optimizer: Optimizer = Adam(self.model.parameters(), lr=0.01)
        names = parameter_names(self.model, self.optimizer)
        self.subject = Subject(self.model, self.optimizer, None, None, {}, names)
        self.good: TrainingState | None = None
        self.data_can_go_back = True
        self.blamed_module: str | None = None
        self.restores: list[DataAfterReload] = []
        self.seeds = 0
        self.by_trainer: dict[str, float] = {}
        self.drawn_by_trainer: list[float] = []

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.optimizer.zero_grad()
            self.model(torch.randn(5, 3)).square().sum().backward()
            self.optimizer.step()

    @property
    def any_good_state(self) -> bool:
        return self.good is not None

    def restore_good_state(self, data: DataAfterReload) -> Restored:
        self.restores.append(data)
        if self.good is None:
            raise ActionError("no good state could be restored")
        self.subject.restore(self.good)
        return Restored(7, "memory")

    def next_draw_seed(self) -> int:
        self.seeds += 1
        return self.seeds

    def reset_by_trainer(self, name: str, module: nn.Module, generator: torch.Generator) -> bool:
        if name not in self.by_trainer:
            return False
        self.drawn_by_trainer.append(torch.rand((), generator=generator).item())
        for parameter in module.parameters():
            nn.init.constant_(parameter, self.by_trainer[name])
        return True

    def everything(self) -> dict[str, Any]:
        return copy.deepcopy(
            {
                "model": dict(self.model.state_dict()),
                "optimizer": {name: self.optimizer.state.get(p, None) for name, p in self.model.named_parameters()},
                "torch": torch.get_rng_state(),
                "numpy": repr(np.random.get_state(legacy=True)),
                "python": random.getstate(),
            }
        )


def bench(model: nn.Module | None = None) -> Bench:
    """Two steps to the good state, and two further ones that end badly."""
    held = Bench(model)
    held.step(2)
    held.good = held.subject.capture()
    held.step(2)
    with torch.no_grad():
        for parameter in held.model.parameters():
            parameter.fill_(float("nan"))
    for state in held.optimizer.state.values():
        state["exp_avg_sq"].fill_(float("nan"))
    return held


def differing(a: dict[str, Any], b: dict[str, Any]) -> set[str]:
    """Names of the parameters and buffers that are not bit for bit the same."""
    return {name for name in a["model"] if not torch.equal(a["model"][name], b["model"][name])}


RECURRENT_WEIGHTS = {"gru.weight_ih_l0", "gru.weight_hh_l0", "gru.bias_ih_l0", "gru.bias_hh_l0"}


@pytest.mark.parametrize("rung", [SkipBatchRung(), LowerLrRung()])
class TestActionsThatOnlyDrop:
    def test_they_touch_nothing(self, rung: Any) -> None:
        held = Bench()
        held.step(2)
        before = held.everything()
        action = action_for(rung)
        assert action.unavailable(held) is None
        assert action.apply(held) == Effect()
        after = held.everything()
        assert repr(after) == repr(before)
        assert differing(after, before) == set()
        assert held.restores == []

    def test_they_rely_on_the_update_being_undone(self, rung: Any) -> None:
        assert not action_for(rung).undoes_update()


class TestReload:
    @pytest.mark.parametrize("data", list(DataAfterReload))
    def test_it_restores_the_good_state_and_hands_on_what_becomes_of_the_data(self, data: DataAfterReload) -> None:
        held = bench()
        action = action_for(ReloadCheckpointRung(data=data))
        assert action.unavailable(held) is None
        assert action.undoes_update()
        assert action.apply(held) == Effect(restored=Restored(7, "memory"))
        assert held.restores == [data]

    def test_it_cannot_act_without_a_good_state(self) -> None:
        assert action_for(ReloadCheckpointRung()).unavailable(Bench()) == "there is no good state to go back to"

    def test_replay_needs_data_that_can_go_back(self) -> None:
        held = bench()
        held.data_can_go_back = False
        why = action_for(ReloadCheckpointRung(data=DataAfterReload.REPLAY)).unavailable(held)
        assert why is not None
        assert "write `data: advance`" in why
        assert action_for(ReloadCheckpointRung()).unavailable(held) is None

    def test_a_state_that_cannot_be_restored_is_an_error(self) -> None:
        with pytest.raises(ActionError):
            action_for(ReloadCheckpointRung()).apply(Bench())


class TestHalt:
    def test_it_leaves_the_good_state(self) -> None:
        held = bench()
        assert action_for(HaltRung()).unavailable(held) is None
        assert action_for(HaltRung()).apply(held).restored == Restored(7, "memory")
        assert all(torch.isfinite(p).all() for p in held.model.parameters())

    def test_it_never_fails(self) -> None:
        held = Bench()
        assert action_for(HaltRung()).apply(held) == Effect()
        assert held.restores == []

        class Torn(Bench):
            any_good_state = True  # type: ignore[assignment]

        assert action_for(HaltRung()).apply(Torn()) == Effect()


class TestReinitialize:
    def good(self, held: Bench) -> dict[str, Any]:
        assert held.good is not None
        held.subject.restore(held.good)
        return held.everything()

    @pytest.mark.parametrize("method", list(RedrawMethod))
    def test_only_the_matched_modules_differ_from_the_good_state(self, method: RedrawMethod) -> None:
        held = bench()
        effect = action_for(ReinitializeRung(method=method)).apply(held)
        after = held.everything()
        good = self.good(held)
        assert effect == Effect(restored=Restored(7, "memory"), modules=("gru",))
        assert differing(after, good) == RECURRENT_WEIGHTS
        assert all(torch.isfinite(weight).all() for weight in after["model"].values())
        for name, state in after["optimizer"].items():
            if name in RECURRENT_WEIGHTS:
                assert state is None
            else:
                for key, value in good["optimizer"][name].items():
                    assert torch.equal(state[key], value), (name, key)

    def test_the_global_generators_are_those_of_the_good_state(self) -> None:
        held = bench()
        action_for(ReinitializeRung()).apply(held)
        after = held.everything()
        good = self.good(held)
        assert torch.equal(after["torch"], good["torch"])
        assert (after["numpy"], after["python"]) == (good["numpy"], good["python"])

    def test_training_goes_on_from_there(self) -> None:
        held = bench()
        action_for(ReinitializeRung()).apply(held)
        held.step(3)
        assert all(torch.isfinite(p).all() for p in held.model.parameters())
        assert all(torch.isfinite(s["exp_avg_sq"]).all() for s in held.optimizer.state.values())

    def test_each_time_the_draw_is_a_new_one_and_each_run_draws_alike(self) -> None:
        def draws(held: Bench) -> list[Tensor]:
            drawn = []
            for _ in range(2):
                action_for(ReinitializeRung()).apply(held)
                drawn.append(held.model.gru.weight_hh_l0.detach().clone())
            return drawn

        first, second = draws(bench())
        assert not torch.equal(first, second)
        torch.manual_seed(1234)
        again = bench()
        assert [torch.equal(a, b) for a, b in zip(draws(again), (first, second), strict=True)] == [True, True]

    def test_globs_name_the_modules(self) -> None:
        held = bench()
        effect = action_for(ReinitializeRung(modules=("HEAD", "batchnorm*"))).apply(held)
        after = held.everything()
        assert effect.modules == ("head", "norm")
        assert differing(after, self.good(held)) == {
            "head.weight",
            "head.bias",
            "norm.weight",
            "norm.bias",
            "norm.running_mean",
            "norm.running_var",
            "norm.num_batches_tracked",
        }

    def test_the_trainers_own_rule_comes_first(self) -> None:
        held = bench()
        held.by_trainer = {"gru": 0.125}
        action_for(ReinitializeRung()).apply(held)
        assert {v for p in held.model.gru.parameters() for v in p.flatten().tolist()} == {0.125}
        action_for(ReinitializeRung()).apply(held)
        assert len(set(held.drawn_by_trainer)) == 2

    def test_weights_that_come_out_bad_are_an_error(self) -> None:
        held = bench()
        held.by_trainer = {"gru": float("nan")}
        with pytest.raises(ActionError, match="redrawn weights of gru are not finite"):
            action_for(ReinitializeRung()).apply(held)

    def test_it_says_when_it_cannot_act(self) -> None:
        assert action_for(ReinitializeRung()).unavailable(bench()) is None
        assert action_for(ReinitializeRung()).unavailable(Bench()) == "there is no good state to go back to"
        why = action_for(ReinitializeRung()).unavailable(bench(Model(recurrent=False)))
        assert why == "the model has no recurrent module: write `modules:` with the globs to redraw"
        assert action_for(ReinitializeRung(modules=("head",))).unavailable(bench(Model(recurrent=False))) is None

    def test_a_glob_that_matches_nothing_is_told_before_anything_happens(self) -> None:
        with pytest.raises(InputError, match="'grv' matches no module"):
            action_for(ReinitializeRung(modules=("grv",))).unavailable(bench())

    def test_it_undoes_the_update(self) -> None:
        assert action_for(ReinitializeRung()).undoes_update()
