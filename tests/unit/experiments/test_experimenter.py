"""What is tried of which update, and what is convicted: on a real model, with canaries that are really computed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from support.exact import assert_same, generators
from support.examined import regression_batches
from support.parts import Parts, log_to
from torch import Tensor, nn

from supervisor.evidence import Blame, Evidence
from supervisor.experiments import Experimenter, RecentCanaries
from supervisor.experiments.budget import PassBudget
from supervisor.experiments.examining import Examining, Tools
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.records import Cause, CauseKind
from supervisor.signals import Detectors
from supervisor.testing.clock import FakeClock
from supervisor.testing.events import EventList
from supervisor.training.data_position import DataPosition
from supervisor.training.tree import clone
from supervisor.update import Attempt, Place

Batch = tuple[Tensor, Tensor, float, float]
"""Inputs and targets, a push on the bias that the loss does not show, and an offset that no gradient shows."""

Ending = Literal["stands", "undone", "left out", "flagged"]
WARM = 96


DETECT = {"drift": None, "weights": None, "spike": {"window_updates": 48, "warmup_updates": 32}}


BATCHES: list[Batch] = [(x_BF, y_BO, 0.0, 0.0) for x_BF, y_BO in regression_batches()]


def bad(*, push: float = 0.0, offset: float = 0.0, number: int = 0) -> Batch:
    return (*BATCHES[number][:2], push, offset)


HARMFUL = bad(push=20.0)
"""Its gradient norm is some forty times the usual, and one such update moves the bias by 1."""

SLIGHT = bad(push=6.0)
"""One alone is within the bounds; two are not."""

HARMLESS = bad(offset=1.0)
"""Its loss is four times the usual, and its gradient is like the others."""

NAN = bad(offset=float("nan"))


class Data(DataPosition):
    """Batches whose rows are known and that can be put back; number 7 was drawn last."""

    leaves_out = True

    @property
    def last_number(self) -> int:
        return 7

    def recent_indices(self, batches: Any) -> list[Any]:
        return [self.batch_number]


class Setting:
    """An experimenter around a linear regression, and the updates that a guard would take through it."""

    def __init__(
        self,
        *,
        warm: int = WARM,
        replayed: bool = True,
        drawn: bool = True,
        data: DataPosition | None = None,
        **policy: Any,
    ) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(4, 1)
        self.calls = 0
        self.raises: set[str] = set()
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.1)
        self.parts = Parts.of(self.model, self.loss, optimizer=optimizer, replayed=replayed)
        policy.setdefault("experiments", {})
        self.policy: RecoveryPolicy = load_policy({"detect": {**DETECT, **policy.pop("detect", {})}, **policy})
        self.detectors, self.heard = Detectors(self.policy), EventList()
        self.canaries = RecentCanaries(4)
        self.data = data or Data()
        self.experimenter = self.around(self.parts)
        self.drawn = drawn
        self.number = 0
        for _ in range(warm):
            assert self.update()[0] == "stands"
        assert not self.heard.named("signal")

    def around(self, parts: Parts) -> Experimenter:
        settings = self.policy.experiments
        tools = Tools(parts.subject, parts.executor, self.data, log_to(self.heard), FakeClock(), lambda: False)
        budget = PassBudget(0.0 if settings is None else settings.max_share_of_passes)
        return Experimenter(self.policy, Examining(self.policy, tools, self.detectors, self.canaries, budget))

    def loss(self, batch: Batch) -> Tensor:
        self.calls += 1
        x_BF, y_BO, push, offset = batch
        if "all" in self.raises:
            raise ValueError("no loss")
        if "this" in self.raises and offset:
            raise KeyError("no loss for this one")
        mean = self.model(x_BF).mean()
        mse = nn.functional.mse_loss(self.model(x_BF), y_BO)
        total: Tensor = mse + push * (mean - mean.detach()) + offset
        return total

    def update(self, batch: Batch | None = None, cause: Cause | None = None, **seen: Any) -> tuple[Ending, Attempt]:
        """One update, by default on the next healthy batch, as the guard takes it from its passes to its end."""
        batch = BATCHES[self.number % 4] if batch is None else batch
        attempt = self.parts.measured(batch, place=Place(self.number, self.number, False))
        attempt.observation = replace(attempt.seen, **seen)
        attempt.drawn = self.drawn
        self.number += 1
        self.data.batch_number = self.number
        attempt.signals = self.detectors.inspect(attempt.seen)
        ending: Ending = "flagged"
        if not attempt.signals or self.experimenter.tries(attempt):
            ending = "left out"
            if not self.experimenter.suspect(attempt):
                self.parts.executor.step_optimizer()
                attempt.undone = False
                ending = "undone"
                if self.experimenter.judge_trial(attempt):
                    self.experimenter.accepted(attempt)
                    return "stands", attempt
        if ending != "undone":
            self.parts.executor.undo(attempt)
        attempt.evidence = self.experimenter.convict(attempt, cause)
        return ending, attempt

    def evidence(self, batch: Batch | None = None, cause: Cause | None = None) -> Evidence:
        """What was found about an update that does not stand."""
        ending, attempt = self.update(batch, cause)
        assert ending != "stands"
        assert attempt.evidence is not None
        return attempt.evidence

    def state(self) -> dict[str, Any]:
        tree = self.parts.subject.capture().to_tree()
        return {**clone({name: tree[name] for name in ("parameters", "buffers", "optimizer")}), "rng": generators()}

    def damage(self, by: float = 2.0) -> None:
        with torch.no_grad():
            self.model.bias.add_(by)

    def experiments(self) -> list[tuple[str, str]]:
        return [(event.kind, event.verdict) for event in self.heard.named("experiment")]

    def window(self) -> list[float]:
        held: list[float] = self.detectors.state_dict()["odd_loss"]["window"]
        return held


class TestHealthy:
    def test_the_users_code_is_called_once_an_update(self) -> None:
        setting = Setting(warm=100)
        assert setting.calls == 100
        assert setting.heard == []
        assert [canary.update for canary in setting.canaries.usable()] == [96, 97, 98, 99]
        assert [canary.rows for canary in setting.canaries.usable()] == [{97}, {98}, {99}, {100}]

    def test_without_experiments_nothing_is_suspected_tried_or_convicted(self) -> None:
        setting = Setting(experiments=None)
        calls = setting.calls
        assert setting.canaries.usable() == ()
        ending, attempt = setting.update(NAN)
        assert (ending, attempt.evidence, setting.calls) == ("flagged", None, calls + 1)
        for batch in (SLIGHT, bad(offset=0.3)):
            ending, attempt = setting.update(batch)
            assert not attempt.suspicions
        assert setting.experiments() == []


class TestTrial:
    def test_an_odd_update_that_harms_nothing_stands(self) -> None:
        setting = Setting()
        ending, attempt = setting.update(HARMLESS)
        assert ending == "stands"
        assert attempt.signals == ()
        assert setting.experiments() == [("trial", "unharmed")]
        (signal,) = setting.heard.named("signal")
        assert (signal.signal, signal.step, signal.update) == ("odd_update", WARM, WARM)

    def test_one_that_harms_is_as_if_it_had_never_been(self) -> None:
        setting = Setting()
        before, canaries, window = setting.state(), setting.canaries.remember(), setting.window()
        ending, attempt = setting.update(HARMFUL)
        assert ending == "undone"
        assert attempt.undone
        assert attempt.gone_back_over == 0
        assert_same(setting.state(), before)
        assert (setting.canaries.remember(), setting.window()) == (canaries, window)
        assert [signal.name for signal in attempt.signals] == ["gradient_spike"]
        evidence = attempt.evidence
        assert evidence is not None
        assert (evidence.blame, evidence.batches, evidence.repeatable, evidence.batch) == (Blame.DATA, 1, True, 7)
        assert "applied on trial, it harmed batches that were healthy" in evidence.why
        assert setting.experiments() == [("trial", "harmed"), ("canaries", "unharmed"), ("fork", "unharmed")]

    def test_odd_ones_are_left_out_from_there_on_until_a_usual_one_comes(self) -> None:
        setting = Setting()
        setting.update(HARMFUL)
        before, calls = setting.state(), setting.calls
        for _ in range(3):
            ending, attempt = setting.update(HARMLESS)
            assert ending == "left out"
            assert attempt.evidence is not None
            assert attempt.evidence.blame is Blame.DATA
            assert [signal.name for signal in attempt.signals] == ["loss_spike"]
        assert_same(setting.state(), before)
        # One look at the four canaries serves for all three.
        assert setting.calls == calls + 3 + 4
        stretch = setting.experimenter.stretch
        assert stretch is not None
        assert stretch.left_out == 4
        assert setting.update()[0] == "stands"
        assert setting.experimenter.stretch is None
        assert setting.update(HARMLESS)[0] == "stands"

    def test_where_known_batches_are_worse_too_each_odd_one_is_tried_by_itself(self) -> None:
        setting = Setting()
        setting.update(HARMFUL)
        # From outside, and not enough to be harm.
        setting.damage(0.25)
        # One look at the canaries serves three times.
        endings = [setting.update(SLIGHT)[0] for _ in range(3)]
        assert endings == ["left out", "left out", "stands"]
        assert setting.experiments()[-2:] == [("canaries", "unharmed"), ("trial", "unharmed")]
        stretch = setting.experimenter.stretch
        assert stretch is not None
        assert not stretch.skipping

    def test_but_not_one_whose_loss_they_do_not_explain(self) -> None:
        setting = Setting()
        setting.update(HARMFUL)
        setting.damage(0.25)
        assert [setting.update(HARMLESS)[0] for _ in range(6)] == ["left out"] * 6

    def test_a_stretch_that_harms_only_together_goes_back_as_a_whole(self) -> None:
        setting = Setting()
        before, window = setting.state(), setting.window()
        assert setting.update(SLIGHT)[0] == "stands"
        ending, attempt = setting.update(SLIGHT)
        assert ending == "undone"
        assert attempt.gone_back_over == 1
        assert attempt.evidence is not None
        assert attempt.evidence.blame is Blame.DATA
        assert "it and those before it harmed" in attempt.evidence.why
        assert_same(setting.state(), before)
        assert setting.window() == window

    def test_canaries_and_windows_are_frozen_while_a_stretch_is_open(self) -> None:
        setting = Setting()
        canaries, window = setting.canaries.remember(), setting.window()
        odd = []
        for _ in range(3):
            ending, attempt = setting.update(HARMLESS)
            assert ending == "stands"
            odd.append(attempt.seen.loss)
            assert (setting.canaries.remember(), setting.window()) == (canaries, window)
        _, attempt = setting.update()
        assert setting.window() == [*window, *odd, attempt.seen.loss][-48:]
        assert [canary.update for canary in setting.canaries.usable()] == [WARM - 3, WARM - 2, WARM - 1, WARM + 3]

    def test_damage_from_before_it_is_the_states(self) -> None:
        setting = Setting()
        setting.damage()
        before = setting.state()
        ending, attempt = setting.update()
        assert ending == "undone"
        assert attempt.evidence is not None
        assert (attempt.evidence.blame, attempt.evidence.finite) == (Blame.STATE, True)
        assert [signal.name for signal in attempt.signals] == ["divergence"]
        assert_same(setting.state(), before)
        assert setting.experiments() == [("trial", "harmed"), ("canaries", "harmed")]

    def test_without_a_pin_what_was_applied_stays_and_the_state_is_at_fault(self) -> None:
        setting = Setting(snapshot={"keep": 0})
        before = setting.state()
        ending, attempt = setting.update(HARMFUL)
        assert ending == "undone"
        assert not attempt.undone
        assert attempt.evidence is not None
        assert attempt.evidence.blame is Blame.STATE
        assert [signal.name for signal in attempt.signals] == ["divergence"]
        with pytest.raises(AssertionError):
            assert_same(setting.state()["parameters"], before["parameters"])

    def test_going_back_ends_the_stretch(self) -> None:
        setting = Setting()
        setting.update(HARMFUL)
        assert setting.experimenter.stretch is not None
        setting.experimenter.restored()
        assert setting.experimenter.stretch is None
        assert setting.update(HARMLESS)[0] == "stands"

    def test_what_the_policy_only_observes_is_never_tried(self) -> None:
        setting = Setting(reactions={"loss_spike": "observe"})
        _, attempt = setting.update(HARMLESS)
        assert not attempt.suspicions
        assert setting.experiments() == []
        assert setting.update(HARMFUL)[0] == "undone"

    def test_where_no_step_can_be_run_again_what_is_finite_stands(self) -> None:
        setting = Setting(replayed=False)
        assert setting.update(HARMFUL)[0] == "stands"
        assert setting.experiments() == []

    def test_a_loss_that_does_not_repeat_ends_experiments_for_good(self) -> None:
        setting = Setting()
        drift = iter(range(10_000))
        loss = setting.loss
        noisy = Parts.of(setting.model, lambda batch: loss(batch) * (1 + 0.01 * next(drift)))
        experimenter = setting.around(noisy)
        attempt = noisy.measured(HARMLESS)
        assert not experimenter.suspect(attempt)
        assert experimenter.judge_trial(attempt)
        (event,) = setting.heard.named("experiment")
        assert (event.verdict, event.why) == ("unknown", "the loss of a batch is another one each time")
        again = noisy.measured(HARMLESS)
        assert not experimenter.suspect(again)
        assert not again.suspicions


class TestShift:
    def test_so_many_that_harm_nothing_are_a_change_of_the_data(self) -> None:
        setting = Setting(experiments={"shift": {"after_updates": 5}})
        odd = []
        for _ in range(5):
            ending, attempt = setting.update(HARMLESS)
            assert ending == "stands"
            odd.append(attempt.seen.loss)
        (event,) = setting.heard.named("data_shift")
        assert (event.updates, event.accepted, event.update) == (5, True, WARM + 4)
        assert setting.experimenter.stretch is None
        assert setting.window() == odd[-1:]
        assert [canary.update for canary in setting.canaries.usable()] == [WARM + 4]
        calls = setting.calls
        for _ in range(40):
            setting.update(HARMLESS)
        assert setting.calls == calls + 40
        assert len(setting.heard.named("data_shift")) == 1

    def test_one_that_is_not_odd_begins_the_count_anew(self) -> None:
        setting = Setting(experiments={"shift": {"after_updates": 3}})
        for _ in range(3):
            for batch in (HARMLESS, HARMLESS, None):
                assert setting.update(batch)[0] == "stands"
        assert setting.heard.named("data_shift") == []

    def test_a_policy_that_does_not_accept_it_goes_back_and_halts(self) -> None:
        setting = Setting(experiments={"shift": {"after_updates": 3, "then": "halt"}})
        before = setting.state()
        for _ in range(2):
            assert setting.update(HARMLESS)[0] == "stands"
        ending, attempt = setting.update(HARMLESS)
        assert ending == "undone"
        assert attempt.gone_back_over == 2
        assert attempt.evidence is not None
        assert (attempt.evidence.blame, attempt.evidence.shifted) == (Blame.DATA, True)
        (event,) = setting.heard.named("data_shift")
        assert not event.accepted
        assert_same(setting.state(), before)


class TestConvicting:
    def test_sound_canaries_convict_the_data(self) -> None:
        setting = Setting()
        before = setting.state()
        evidence = setting.evidence(NAN)
        assert (evidence.blame, evidence.finite, evidence.batches) == (Blame.DATA, False, 1)
        assert "the last batch that was healthy still is: its loss is" in evidence.why
        (look,) = setting.heard.named("experiment")
        assert look.batches == 1
        assert_same(setting.state(), before)

    def test_where_the_newest_is_harmed_all_of_them_are_asked(self) -> None:
        setting = Setting()
        with torch.no_grad():
            for parameter in setting.parts.model.parameters():
                parameter.mul_(30.0)
        evidence = setting.evidence(NAN)
        assert evidence.blame is Blame.STATE
        assert [look.batches for look in setting.heard.named("experiment") if look.kind == "canaries"] == [1, 4]

    def test_so_they_do_where_the_update_is_finite_and_extreme(self) -> None:
        setting = Setting()
        ending, attempt = setting.update(bad(push=1e4))
        assert ending == "flagged"
        assert attempt.evidence is not None
        assert (attempt.evidence.blame, attempt.evidence.finite) == (Blame.DATA, True)

    def test_merely_odd_ones_after_it_are_tried_as_ever(self) -> None:
        setting = Setting()
        for _ in range(3):
            assert setting.update(bad(push=1e4))[0] == "flagged"
            assert setting.update(HARMLESS)[0] == "stands"

    def test_harmed_canaries_convict_the_state(self) -> None:
        setting = Setting()
        setting.damage()
        evidence = setting.evidence(NAN)
        assert evidence.blame is Blame.STATE
        assert "not any more" in evidence.why

    def test_a_state_that_is_not_finite_needs_no_canaries(self) -> None:
        setting = Setting()
        _, attempt = setting.update(NAN, bad_parameters=("weight",))
        assert attempt.evidence is not None
        assert attempt.evidence.blame is Blame.STATE
        assert setting.experiments() == []

    @pytest.mark.parametrize("kind", [CauseKind.NOT_REPRODUCIBLE, CauseKind.EXCEPTION])
    def test_what_the_same_step_does_not_show_again_is_the_machines(self, kind: CauseKind) -> None:
        setting = Setting()
        deterministic = None if kind is CauseKind.NOT_REPRODUCIBLE else False
        evidence = setting.evidence(NAN, Cause(kind, "once", 0, 0, deterministic=deterministic))
        assert (evidence.blame, evidence.repeatable, evidence.batch) == (Blame.MACHINE, True, 7)
        assert setting.experiments() == []

    def test_a_batch_of_the_callers_own_has_no_number_and_does_not_come_again(self) -> None:
        setting = Setting(drawn=False, data=DataPosition())
        evidence = setting.evidence(NAN, Cause(CauseKind.NOT_REPRODUCIBLE, "once", 0, 0))
        assert (evidence.blame, evidence.repeatable, evidence.batch) == (Blame.MACHINE, False, None)

    def test_canaries_that_raise_alike_convict_the_program(self) -> None:
        setting = Setting()
        setting.raises.add("all")
        evidence = setting.evidence()
        assert evidence.blame is Blame.CODE
        assert "no loss" in evidence.why

    def test_an_exception_of_this_batch_alone_is_the_datas(self) -> None:
        setting = Setting()
        setting.raises.add("this")
        evidence = setting.evidence(bad(offset=1.0))
        assert (evidence.blame, evidence.finite) == (Blame.DATA, False)

    def test_canaries_that_raise_where_the_batch_did_not_say_nothing(self) -> None:
        setting = Setting()
        attempt = setting.parts.measured(NAN)
        attempt.signals = setting.detectors.inspect(attempt.seen)
        setting.parts.executor.undo(attempt)
        setting.raises.add("all")
        found = setting.experimenter.convict(attempt, None)
        assert found is not None
        assert found.blame is Blame.UNKNOWN

    def test_without_a_canary_nothing_is_known(self) -> None:
        evidence = Setting(warm=0).evidence(NAN)
        assert (evidence.blame, evidence.finite) == (Blame.UNKNOWN, False)

    def test_nor_where_the_update_had_reached_the_weights(self) -> None:
        setting = Setting()
        attempt = setting.parts.applied(BATCHES[0])
        attempt.undone = False
        found = setting.experimenter.convict(attempt, None)
        assert found is not None
        assert found.blame is Blame.UNKNOWN

    def test_canaries_with_quarantined_rows_are_not_asked(self) -> None:
        setting = Setting()
        setting.data.quarantined = frozenset({WARM, WARM - 1})
        evidence = setting.evidence(NAN)
        assert "batch that was healthy still is" in evidence.why
        assert setting.experimenter.examining.usable()[-1].rows == {WARM - 2}

    def test_the_same_state_is_looked_at_for_three_batches_at_once(self) -> None:
        setting = Setting()
        for looks in (1, 1, 1, 2, 2):
            assert setting.evidence(NAN).blame is Blame.DATA
            assert setting.experiments() == [("canaries", "unharmed")] * looks
        setting.update()
        setting.evidence(NAN)
        assert len(setting.experiments()) == 3

    def test_what_was_found_already_stays(self) -> None:
        setting = Setting()
        attempt = setting.parts.flagged(NAN)
        attempt.evidence = Evidence(Blame.DATA, "found before")
        assert setting.experimenter.convict(attempt, None) is attempt.evidence
        assert setting.experiments() == []

    def test_as_many_batches_count_as_were_at_fault(self) -> None:
        setting = Setting()
        attempt = setting.parts.flagged(NAN, BATCHES[0], NAN)
        attempt.at_fault = (0, 2)
        found = setting.experimenter.convict(attempt, None)
        assert found is not None
        assert (found.blame, found.batches) == (Blame.DATA, 2)


class TestExtremes:
    """An extreme loss goes on trial, and so does an extreme gradient that an odd loss explains."""

    def test_one_whose_loss_alone_is_extreme_is_tried_and_stands_where_it_harms_nothing(self) -> None:
        setting = Setting()
        ending, attempt = setting.update(bad(offset=1e4))
        assert (ending, attempt.signals, attempt.extreme) == ("stands", (), True)
        assert setting.experiments() == [("trial", "unharmed")]

    def test_where_it_does_harm_it_is_undone(self) -> None:
        setting = Setting()
        before = setting.state()
        ending, attempt = setting.update(bad(push=20.0, offset=1e4))
        assert ending == "undone"
        assert [signal.name for signal in attempt.signals] == ["loss_spike"]
        assert_same(setting.state(), before)

    def test_so_it_is_while_the_windows_are_not_warm(self) -> None:
        setting = Setting(warm=12)
        window = setting.window()
        assert setting.update(bad(offset=1e4))[0] == "stands"
        assert [kind for kind, _ in setting.experiments()] == ["trial"]
        assert setting.window() == window

    def test_an_extreme_gradient_is_tried_where_the_loss_is_odd_too(self) -> None:
        setting = Setting()
        assert setting.update(bad(push=1e4))[0] == "flagged"
        assert setting.update(bad(push=1e4, offset=1.0))[0] == "undone"

    def test_but_not_where_the_loss_is_far_worse_than_in_the_beginning(self) -> None:
        assert Setting().update(bad(push=1e4, offset=1e4))[0] == "flagged"

    def test_what_else_was_found_is_never_tried(self) -> None:
        setting = Setting()
        ending, attempt = setting.update(bad(offset=1e4), bad_parameters=("weight",))
        assert (ending, attempt.extreme) == ("flagged", False)

    @pytest.mark.parametrize(
        "changes", [{"snapshot": {"keep": 0}}, {"replayed": False}], ids=["without copies", "without replay"]
    )
    def test_where_there_can_be_no_trial_it_is_flagged(self, changes: dict[str, Any]) -> None:
        ending, attempt = Setting(**changes).update(bad(offset=1e4))
        assert (ending, [signal.name for signal in attempt.signals]) == ("flagged", ["loss_spike"])

    def test_extremes_that_are_left_out_one_after_another_are_asked_of_a_fork_once(self) -> None:
        setting = Setting(experiments={"bad_data": {"in_a_row": 5}, "shift": {"after_updates": 5}})
        for _ in range(5):
            assert setting.update(bad(push=1e4))[0] == "flagged"
        assert [kind for kind, _ in setting.experiments()].count("fork") == 1
        assert setting.heard.named("data_shift") == []


class TestLasting:
    """Canaries that are harmed a little, and not severely: only when it lasts."""

    def test_slight_harm_convicts_after_four_odd_updates(self) -> None:
        setting = Setting(experiments={"harm_factor": 1.05})
        before = setting.state()
        odd = [bad(push=9.0), *[bad(push=1.0, offset=1.0)] * 3]
        assert [setting.update(batch)[0] for batch in odd] == ["stands", "stands", "stands", "undone"]
        assert [verdict for kind, verdict in setting.experiments() if kind == "trial"] == ["harmed"] * 4
        assert_same(setting.state(), before)

    def test_what_is_over_before_that_stands(self) -> None:
        setting = Setting(experiments={"harm_factor": 1.05})
        odd = [bad(push=9.0), *[bad(push=1.0, offset=1.0)] * 2]
        assert [setting.update(batch)[0] for batch in odd] == ["stands"] * 3
        assert setting.update()[0] == "stands"
        assert setting.experimenter.stretch is None


class TestTheState:
    """After an update in which the check of the state found weights that lost too much of their norm."""

    def checked(self, setting: Setting, norm: float) -> Attempt:
        attempt = setting.parts.measured(BATCHES[0], place=Place(setting.number, setting.number, False))
        attempt.observation = replace(attempt.seen, weight_norms={"weight": norm})
        return attempt

    def setting(self, **changes: Any) -> Setting:
        made = Setting(detect={"weights": {"warmup_updates": 20}}, warm=0, **changes)
        for _ in range(WARM):
            made.update(weight_norms={"weight": 2.0})
        return made

    def test_what_harms_no_canary_is_sound(self) -> None:
        setting = self.setting()
        assert setting.experimenter.judge_state(self.checked(setting, 0.2))
        assert setting.experiments() == [("trial", "unharmed")]

    def test_what_does_is_the_states_fault(self) -> None:
        setting = self.setting()
        setting.damage()
        attempt = self.checked(setting, 0.2)
        assert not setting.experimenter.judge_state(attempt)
        assert [signal.name for signal in attempt.signals] == ["divergence"]
        assert attempt.evidence is not None
        assert (attempt.evidence.blame, attempt.evidence.finite) == (Blame.STATE, True)

    def test_usual_norms_ask_for_no_experiment(self) -> None:
        setting = self.setting()
        setting.damage()
        assert setting.experimenter.judge_state(self.checked(setting, 1.99))
        assert setting.experiments() == []

    def test_what_the_policy_only_observes_is_not_judged(self) -> None:
        setting = self.setting(reactions={"divergence": "observe"})
        setting.damage()
        assert setting.experimenter.judge_state(self.checked(setting, 0.2))


class TestBudget:
    """A share so small that nothing is saved up: a run begins with eight updates' worth, and a canary costs a third."""

    ODD = bad(offset=0.25)

    def test_single_odd_updates_are_tried_as_long_as_they_are_paid_for(self) -> None:
        setting = Setting(experiments={"max_share_of_passes": 1e-6})
        tried = []
        for _ in range(12):
            ending, attempt = setting.update(self.ODD)
            assert ending == "stands"
            assert attempt.odd is not bool(attempt.suspicions)
            tried.append(bool(attempt.suspicions))
            assert setting.update(BATCHES[1])[0] == "stands"
        assert tried == [True] * 5 + [False] * 7

    def test_one_that_could_not_be_paid_for_is_measured_by_nobody(self) -> None:
        setting = Setting(experiments={"max_share_of_passes": 1e-6})
        for _ in range(8):
            setting.update(BATCHES[1])
            window, canaries = setting.window(), setting.canaries.remember()
            _, attempt = setting.update(self.ODD)
        assert attempt.odd
        assert (setting.window(), setting.canaries.remember()) == (window, canaries)

    def test_an_extreme_one_is_never_applied_untried_however_deep_the_debt(self) -> None:
        setting = Setting(experiments={"max_share_of_passes": 1e-6})
        setting.experimenter.examining.budget.spend(1000.0)
        _, attempt = setting.update(BATCHES[1], loss=1e6)
        assert attempt.extreme
        assert attempt.suspicions

    def test_one_that_is_far_off_is_tried_all_the_same(self) -> None:
        setting = Setting(experiments={"max_share_of_passes": 1e-6})
        for _ in range(12):
            assert setting.update(bad(offset=4.0))[1].suspicions
            setting.update()
