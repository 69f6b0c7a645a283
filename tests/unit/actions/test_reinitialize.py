"""`reinitialize`: the good state with some modules drawn afresh, by their own rule where they have one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.bench import Bench, Model, bench, differing
from torch import Tensor, nn

from supervisor.actions import Effect, Restored
from supervisor.actions.reinitialize import Reinitialize, redraw_
from supervisor.errors import ActionError, InputError
from supervisor.policy import RedrawMethod, ReinitializeRung

ORTHOGONAL = RedrawMethod.ORTHOGONAL
RECURRENT_WEIGHTS = {"gru.weight_ih_l0", "gru.weight_hh_l0", "gru.bias_ih_l0", "gru.bias_hh_l0"}


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
        assert why == "the model has no recurrent module: write `modules:` with the globs to redraw"
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


def spoil(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(float("nan"))


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.inner = nn.Linear(2, 2)

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.weight.fill_(7.0)


class OwnGru(nn.GRU):
    def reset_parameters(self) -> None:
        for weight in self.parameters():
            nn.init.constant_(weight, 0.25)


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


class TestAnyModule:
    def test_a_modules_own_rule_comes_first_and_is_the_whole_of_it(self) -> None:
        module = Own()
        inner = module.inner.weight.detach().clone()
        redraw_("own", module, ORTHOGONAL)
        assert module.weight.tolist() == [7.0, 7.0]
        assert torch.equal(module.inner.weight, inner)

    def test_a_gru_with_its_own_rule_keeps_to_it(self) -> None:
        module = OwnGru(2, 3)
        spoil(module)
        redraw_("gru", module, ORTHOGONAL)
        assert {weight for w in module.parameters() for weight in w.flatten().tolist()} == {0.25}

    def test_torchs_own_recurrent_modules_are_drawn_stably(self) -> None:
        module = nn.GRU(2, 3)
        redraw_("gru", module, ORTHOGONAL)
        assert module.bias_hh_l0.tolist() == [0.0] * 3 + [1.0] * 3 + [0.0] * 3

    def test_containers_are_drawn_part_by_part(self) -> None:
        module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.GRU(2, 2), nn.LayerNorm(2)), nn.ReLU())
        spoil(module)
        redraw_("net", module, ORTHOGONAL)
        assert all(torch.isfinite(p).all() for p in module.parameters())

    def test_running_statistics_start_afresh_too(self) -> None:
        module = nn.BatchNorm1d(2)
        module.running_mean.fill_(float("nan"))
        redraw_("norm", module, ORTHOGONAL)
        assert module.running_mean.tolist() == [0.0, 0.0]

    def test_parameters_that_nothing_can_draw_are_an_error_that_says_the_mend(self) -> None:
        module = nn.Sequential(nn.Linear(1, 1), nn.Sequential(Bare()))
        with pytest.raises(ActionError, match=r"net\.1\.0 \(Bare\) has parameters and no reset_parameters\(\)"):
            redraw_("net", module, ORTHOGONAL)
