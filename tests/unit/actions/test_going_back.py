"""The newest good state is back: as it is, with some modules drawn afresh, or at the end of the run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.bench import Bench, Model, bench, differing
from torch import Tensor, nn

from supervisor.actions import Effect, Restored
from supervisor.actions.going_back import Halt, Reinitialize, ReloadCheckpoint
from supervisor.errors import ActionError, InputError
from supervisor.policy import DataAfterReload, RedrawMethod, ReinitializeRung, ReloadCheckpointRung

RECURRENT_WEIGHTS = {"gru.weight_ih_l0", "gru.weight_hh_l0", "gru.bias_ih_l0", "gru.bias_hh_l0"}


class TestReloadCheckpoint:
    @pytest.mark.parametrize("data", list(DataAfterReload))
    def test_it_restores_the_good_state_and_hands_on_what_becomes_of_the_data(self, data: DataAfterReload) -> None:
        held = bench()
        action = ReloadCheckpoint(ReloadCheckpointRung(data=data))
        assert action.unavailable(held) is None
        assert action.undoes_update()
        assert action.apply(held) == Effect(restored=Restored(7, "memory"))
        assert held.restores == [data]

    def test_it_cannot_act_without_a_good_state(self) -> None:
        assert ReloadCheckpoint(ReloadCheckpointRung()).unavailable(Bench()) == "there is no good state to go back to"

    def test_replay_needs_data_that_can_go_back(self) -> None:
        held = bench()
        held.data_can_go_back = False
        why = ReloadCheckpoint(ReloadCheckpointRung(data=DataAfterReload.REPLAY)).unavailable(held)
        assert why is not None
        assert "write `data: advance`" in why
        assert ReloadCheckpoint(ReloadCheckpointRung()).unavailable(held) is None

    def test_a_state_that_cannot_be_restored_is_an_error(self) -> None:
        with pytest.raises(ActionError):
            ReloadCheckpoint(ReloadCheckpointRung()).apply(Bench())


class TestReinitialize:
    def good(self, held: Bench) -> dict[str, Any]:
        assert held.good is not None
        held.subject.restore(held.good)
        return held.everything()

    @pytest.mark.parametrize("method", list(RedrawMethod))
    def test_only_the_matched_modules_differ_from_the_good_state(self, method: RedrawMethod) -> None:
        held = bench()
        effect = Reinitialize(ReinitializeRung(method=method)).apply(held)
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
        Reinitialize(ReinitializeRung()).apply(held)
        after = held.everything()
        good = self.good(held)
        assert torch.equal(after["torch"], good["torch"])
        assert (after["numpy"], after["python"]) == (good["numpy"], good["python"])

    def test_training_goes_on_from_there(self) -> None:
        held = bench()
        Reinitialize(ReinitializeRung()).apply(held)
        held.step(3)
        assert all(torch.isfinite(p).all() for p in held.model.parameters())
        assert all(torch.isfinite(s["exp_avg_sq"]).all() for s in held.optimizer.state.values())

    def test_each_time_the_draw_is_a_new_one_and_each_run_draws_alike(self) -> None:
        def draws(held: Bench) -> list[Tensor]:
            drawn = []
            for _ in range(2):
                Reinitialize(ReinitializeRung()).apply(held)
                drawn.append(held.model.gru.weight_hh_l0.detach().clone())
            return drawn

        first, second = draws(bench())
        assert not torch.equal(first, second)
        torch.manual_seed(1234)
        again = bench()
        assert [torch.equal(a, b) for a, b in zip(draws(again), (first, second), strict=True)] == [True, True]

    def test_globs_name_the_modules(self) -> None:
        held = bench()
        effect = Reinitialize(ReinitializeRung(modules=("HEAD", "batchnorm*"))).apply(held)
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

    def test_where_a_part_of_a_cell_is_blamed_the_cell_is_redrawn_by_its_own_rule(self) -> None:
        class OwnCell(nn.Module):
            is_recurrent_cell = True

            def __init__(self) -> None:
                super().__init__()
                self.inward, self.around = nn.Linear(4, 4), nn.Linear(4, 4)

            def reset_parameters(self) -> None:
                for weight in self.parameters():
                    nn.init.constant_(weight, 0.25)

            def forward(self, x: Tensor) -> Tensor:
                out: Tensor = self.around(torch.tanh(self.inward(x)))
                return out

        model = Model(recurrent=False)
        model.gru = OwnCell()  # type: ignore[assignment]
        held = bench(model)
        held.blamed_module = "gru.around"
        assert Reinitialize(ReinitializeRung()).apply(held).modules == ("gru",)
        assert {v for p in held.model.gru.parameters() for v in p.flatten().tolist()} == {0.25}
        assert not any(parameter in held.optimizer.state for parameter in held.model.gru.parameters())

    def test_the_trainers_own_rule_comes_first(self) -> None:
        held = bench()
        held.by_trainer = {"gru": 0.125}
        Reinitialize(ReinitializeRung()).apply(held)
        assert {v for p in held.model.gru.parameters() for v in p.flatten().tolist()} == {0.125}
        Reinitialize(ReinitializeRung()).apply(held)
        assert len(set(held.drawn_by_trainer)) == 2

    def test_weights_that_come_out_bad_are_an_error(self) -> None:
        held = bench()
        held.by_trainer = {"gru": float("nan")}
        with pytest.raises(ActionError, match="redrawn weights of gru are not finite"):
            Reinitialize(ReinitializeRung()).apply(held)

    def test_it_says_when_it_cannot_act(self) -> None:
        assert Reinitialize(ReinitializeRung()).unavailable(bench()) is None
        assert Reinitialize(ReinitializeRung()).unavailable(Bench()) == "there is no good state to go back to"
        why = Reinitialize(ReinitializeRung()).unavailable(bench(Model(recurrent=False)))
        assert why == (
            "the model trains no recurrent module: write `modules:` with the globs to redraw, "
            "or `is_recurrent_cell = True` in the class of a cell of your own"
        )
        assert Reinitialize(ReinitializeRung(modules=("head",))).unavailable(bench(Model(recurrent=False))) is None

    def test_a_glob_that_matches_nothing_is_told_before_anything_happens(self) -> None:
        with pytest.raises(InputError, match="'grv' matches no module"):
            Reinitialize(ReinitializeRung(modules=("grv",))).unavailable(bench())

    def test_it_undoes_the_update(self) -> None:
        assert Reinitialize(ReinitializeRung()).undoes_update()

    def test_the_module_that_the_diagnosis_blames_is_redrawn_where_the_rung_names_none(self) -> None:
        held = bench()
        held.blamed_module = "head"
        assert Reinitialize(ReinitializeRung()).apply(held).modules == ("head",)
        assert Reinitialize(ReinitializeRung(modules=("norm",))).apply(held).modules == ("norm",)


class TestHalt:
    def test_it_leaves_the_good_state(self) -> None:
        held = bench()
        assert Halt().unavailable(held) is None
        assert Halt().apply(held).restored == Restored(7, "memory")
        assert all(torch.isfinite(p).all() for p in held.model.parameters())

    def test_it_never_fails(self) -> None:
        held = Bench()
        assert Halt().apply(held) == Effect()
        assert held.restores == []

        class Torn(Bench):
            any_good_state = True  # type: ignore[assignment]

        assert Halt().apply(Torn()) == Effect()

    def test_it_undoes_the_update_and_goes_on_with_the_data(self) -> None:
        held = bench()
        assert Halt().undoes_update()
        Halt().apply(held)
        assert held.restores == [DataAfterReload.ADVANCE]

    @pytest.mark.parametrize("error", [ValueError, KeyError, RuntimeError])
    def test_a_state_of_the_users_that_refuses_in_its_own_way_does_not_stop_it(self, error: type[Exception]) -> None:
        class Refusing(Bench):
            any_good_state = True  # type: ignore[assignment]

            def restore_good_state(self, data: DataAfterReload) -> Restored:
                raise error("no")

        assert Halt().apply(Refusing()) == Effect()
