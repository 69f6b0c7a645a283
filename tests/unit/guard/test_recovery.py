"""From signals to a recovered run: decided, carried out, decided again where an action fails, all of it on record."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.parts import NAN_LOSS, attempt_of, policy_of, subject_of
from support.recorder import Calls, Recorder
from torch import nn

from supervisor.actions import Restored
from supervisor.diagnosis import Diagnosis
from supervisor.errors import ActionError, PolicyMisfit
from supervisor.guard.diagnosing import Diagnostician
from supervisor.guard.recovery import ActionContext, Recovered, Recovery, Redrawing
from supervisor.policy import DataAfterReload
from supervisor.record.incident_log import IncidentLog
from supervisor.record.quarantine import Quarantine
from supervisor.record.run_ledger import RunLedger
from supervisor.records import ActionName, Bundle, Cause, CauseKind, Outcome, Signal, SignalName
from supervisor.states import RestorePoints, Restoring
from supervisor.states.restore_points import SpareCopies
from supervisor.testing.clock import FakeClock
from supervisor.testing.tiny import TinyTrainer
from supervisor.training.data_position import DataPosition
from supervisor.update import Attempt

SKIP, LOWER, RELOAD = {"action": "skip_batch", "attempts": 1}, {"action": "lower_lr"}, {"action": "reload_checkpoint"}
REDRAW = {"action": "reinitialize", "modules": ["outer"]}
BUNDLE = Bundle("batch.pt", "state.pt")
POISONED = (Signal(SignalName.NONFINITE_PARAMETER),)


def once(error: BaseException) -> Any:
    """A way back that fails the first time."""
    errors = [error]

    def restore(data: DataAfterReload, answered: Any) -> Restored:
        if errors:
            raise errors.pop()
        return Restored(5, "memory", 0)

    return restore


def cause(kind: CauseKind, module: str | None = None) -> Cause:
    return Cause(kind, "so it is", 8, 0, module=module)


class Setting:
    """A recovery with a real ledger, whose way back and whose record write down what they are asked."""

    def __init__(self, *rungs: Any, good: bool = True, restore: Any = None, by_trainer: Any = None) -> None:
        self.calls = calls = Calls()
        self.trainer, self.clock = TinyTrainer(), FakeClock()
        policy = policy_of(*rungs) if rungs else policy_of(SKIP, LOWER, RELOAD, REDRAW)
        self.ledger = RunLedger(policy, self.clock)
        for _ in range(8):
            self.ledger.used_up()
        data: Any = Recorder(DataPosition, "data", calls, can_go_back=False)
        points = RestorePoints(subject_of(self.trainer), data, self.ledger, SpareCopies())
        restored = Restored(5, "memory", 0) if restore is None else restore
        self.restoring: Any = Recorder(
            Restoring, "restoring", calls, any_good=good, restore=restored, newest_good_step=None
        )
        record: Any = Recorder(IncidentLog, "record", calls)
        quarantine: Any = Recorder(Quarantine, "quarantine", calls)
        self.diagnostician: Any = Recorder(Diagnostician, "diagnostician", calls, write_bundle=BUNDLE)
        redrawing = Redrawing(7, by_trainer)
        self.recovery = Recovery(policy, points, self.restoring, redrawing, record, quarantine)
        self.context = ActionContext(points, self.restoring, redrawing)

    def flag(self, signals: Any = NAN_LOSS, diagnosis: Diagnosis | None = None, **attributes: Any) -> Recovered:
        place = self.ledger.begin(1)
        attempt = attempt_of(place.step, place.update, loss=math.nan)
        for name, value in attributes.items():
            setattr(attempt, name, value)
        self.calls.clear()
        return self.recovery.answer(attempt, signals, diagnosis, self.diagnostician)

    def last(self, what: str) -> tuple[Any, ...]:
        return self.calls.given[what][-1]


class TestSkippingAndCutting:
    def test_the_first_finding_opens_an_incident_which_is_on_record_before_the_decision(self) -> None:
        setting = Setting()
        found = setting.flag()
        assert (found.decision.action, found.effect.restored) == (ActionName.SKIP_BATCH, None)
        assert setting.calls == [
            "diagnostician.write_bundle",
            "record.opened",
            "record.decided",
            "record.applied",
            "record.write",
        ]
        assert setting.ledger.incident is not None
        assert setting.ledger.incident.bundle == BUNDLE
        assert setting.last("record.write") == (setting.ledger.incident,)
        assert setting.last("record.applied")[3] is None

    def test_a_further_one_opens_no_other(self) -> None:
        setting = Setting()
        setting.flag()
        assert setting.flag().decision.action is ActionName.LOWER_LR
        assert setting.calls == ["record.decided", "record.applied", "record.write"]
        assert setting.last("record.applied")[3] == setting.ledger.lr_scale == 0.5

    def test_time_is_measured_by_the_clock(self) -> None:
        setting = Setting(RELOAD, restore=lambda data, answered: (setting.clock.advance(1.5), Restored(5, "disk"))[1])
        setting.flag()
        assert setting.last("record.applied")[4] == 1.5


class TestGoingBack:
    def test_a_reload_goes_back_and_the_ledger_knows(self) -> None:
        setting = Setting(RELOAD)
        found = setting.flag()
        assert found.effect.restored == Restored(5, "memory", 0)
        data, answered = setting.last("restoring.restore")
        assert (data, answered.update) == (DataAfterReload.ADVANCE, 0)
        assert setting.ledger.engine.furthest_restored_step == 5

    def test_a_second_one_without_progress_cuts_the_rate_and_that_is_on_record(self) -> None:
        setting = Setting(RELOAD)
        setting.flag()
        assert setting.last("record.applied")[3] is None
        setting.ledger.applied(attempt_of(8, 8).seen)
        setting.flag()
        assert setting.last("record.applied")[3] == setting.ledger.lr_scale == 0.1

    def test_a_halt_goes_back_too_and_ends_the_ladder(self) -> None:
        setting = Setting({"action": "halt"})
        found = setting.flag()
        assert (found.decision.action, found.effect.restored) == (ActionName.HALT, Restored(5, "memory", 0))
        assert setting.ledger.halted

    def test_redrawn_modules_are_on_record(self) -> None:
        setting = Setting(REDRAW)
        before = setting.trainer.model.get_parameter("outer.weight").detach().clone()
        found = setting.flag()
        assert (found.effect.modules, found.effect.restored) == (("outer",), Restored(5, "memory", 0))
        assert not torch.equal(setting.trainer.model.get_parameter("outer.weight"), before)


class TestWhatCannotAct:
    def test_without_a_good_state_the_rungs_that_go_back_are_passed_over_and_the_reason_says_so(self) -> None:
        setting = Setting(RELOAD, REDRAW, SKIP, good=False)
        found = setting.flag()
        assert found.decision.action is ActionName.SKIP_BATCH
        assert setting.last("record.decided")[2].keys() == {0, 1}
        assert "there is no good state to go back to" in found.decision.reason

    def test_an_update_that_reached_the_weights_can_only_be_reloaded(self) -> None:
        setting = Setting()
        found = setting.flag(undone=False)
        assert found.decision.action is ActionName.RELOAD_CHECKPOINT
        assert setting.last("record.decided")[2] == dict.fromkeys(
            (0, 1), "the update reached the weights: only a reload can undo it"
        )

    def test_replay_needs_data_that_can_go_back(self) -> None:
        setting = Setting({**RELOAD, "data": "replay"}, SKIP)
        assert setting.flag().decision.action is ActionName.SKIP_BATCH

    def test_a_glob_that_matches_no_module_is_told_when_it_is_built(self) -> None:
        with pytest.raises(PolicyMisfit) as caught:
            Setting(SKIP, {**REDRAW, "modules": ["outr"]})
        assert caught.value.path == ("ladder", 1, "modules")
        assert "outer" in caught.value.what


class TestActionsThatFail:
    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (ActionError("no good state could be restored"), "no good state could be restored"),
            (RuntimeError("out of paper"), "RuntimeError: out of paper"),
        ],
    )
    def test_the_next_rung_is_decided_at_once_and_all_of_it_is_on_record(self, error: Exception, told: str) -> None:
        setting = Setting(RELOAD, REDRAW, restore=once(error))
        found = setting.flag()
        assert found.decision.action is ActionName.REINITIALIZE
        assert setting.calls == [
            "diagnostician.write_bundle",
            "record.opened",
            "record.decided",
            "restoring.restore",
            "record.failed",
            "record.decided",
            "restoring.restore",
            "record.applied",
            "record.write",
        ]
        failed, what, _ = setting.last("record.failed")
        assert (failed.action, what) == (ActionName.RELOAD_CHECKPOINT, told)
        assert f"reload_checkpoint failed ({told})" in found.decision.reason
        assert setting.ledger.incident is not None
        assert [each.action for each in setting.ledger.incident.decisions] == ["reload_checkpoint", "reinitialize"]
        assert setting.ledger.engine.restores == (0, 1)

    def test_after_a_way_back_that_broke_off_nothing_that_relies_on_the_discarded_update_can_act(self) -> None:
        """The training objects may stand half in one state and half in another."""

        def refuse(name: str, module: nn.Module, generator: torch.Generator) -> bool:
            raise ValueError("not this one")

        setting = Setting(REDRAW, SKIP, RELOAD, by_trainer=refuse)
        found = setting.flag()
        assert found.decision.action is ActionName.RELOAD_CHECKPOINT
        assert setting.last("record.decided")[2] == {1: "the update reached the weights: only a reload can undo it"}

    def test_where_all_fail_the_run_halts_where_it_is(self) -> None:
        setting = Setting(RELOAD, REDRAW, restore=ActionError("gone"))
        found = setting.flag()
        assert (found.decision.action, found.effect.restored) == (ActionName.HALT, None)
        assert len(setting.calls.given["record.failed"]) == 2
        assert setting.calls.count("restoring.restore") == 3
        assert setting.ledger.engine.furthest_restored_step == -1

    def test_an_interrupt_is_no_failure(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            Setting(RELOAD, SKIP, restore=KeyboardInterrupt()).flag()


class TestDiagnoses:
    def test_a_cause_is_in_the_incident_on_record_and_its_samples_are_left_out(self) -> None:
        setting, found = Setting(), cause(CauseKind.BAD_INPUT)
        setting.flag(diagnosis=Diagnosis(found, replays=2))
        assert setting.calls == [
            "diagnostician.write_bundle",
            "record.opened",
            "record.diagnosed",
            "quarantine.add",
            "record.decided",
            "record.applied",
            "record.write",
        ]
        assert setting.last("quarantine.add") == (found, 1, False)
        assert setting.ledger.incident is not None
        assert (setting.ledger.incident.causes, setting.ledger.incident.replays) == ((found,), 2)

    def test_one_that_found_nothing_is_on_record_and_nothing_is_left_out(self) -> None:
        setting = Setting()
        setting.flag(diagnosis=Diagnosis(None, "it took too long", 3))
        assert "record.diagnosed" in setting.calls
        assert "quarantine.add" not in setting.calls

    def test_its_kind_moves_the_incident_up_the_ladder(self) -> None:
        setting = Setting()
        found = setting.flag(diagnosis=Diagnosis(cause(CauseKind.POISONED_PARAMETER)))
        assert found.decision.action is ActionName.RELOAD_CHECKPOINT
        # What was presumed of rows in this incident is the state's doing.
        assert setting.calls.count("quarantine.release") == 1

    def test_a_skip_says_nothing_of_the_state(self) -> None:
        setting = Setting()
        setting.flag(diagnosis=Diagnosis(cause(CauseKind.BAD_INPUT)))
        assert "quarantine.release" not in setting.calls

    @pytest.mark.parametrize(
        ("attributes", "can_retry"), [({"drawn": True}, True), ({}, False), ({"drawn": True, "undone": False}, False)]
    )
    def test_batches_can_come_again_where_the_guard_drew_them_and_nothing_reached_the_weights(
        self, attributes: Any, can_retry: bool
    ) -> None:
        setting = Setting()
        setting.flag(**attributes)
        assert setting.last("record.decided")[3] is can_retry


class TestTheContext:
    """What the actions see of the guard."""

    def blamed(self, *causes: Cause) -> str | None:
        context = Setting().context
        return ActionContext(context.points, context.restoring, context.redrawing, None, causes).blamed_module

    def test_the_module_blamed_last_is_named(self) -> None:
        explosion, activation = CauseKind.GRADIENT_EXPLOSION, CauseKind.NONFINITE_ACTIVATION
        assert self.blamed() is None
        assert self.blamed(cause(activation, "inner"), cause(explosion, "outer")) == "outer"
        assert self.blamed(cause(activation, "inner"), cause(explosion)) == "inner"

    @pytest.mark.parametrize("kind", [CauseKind.BAD_INPUT, CauseKind.EXCEPTION])
    def test_what_the_data_or_the_code_do_to_a_module_is_no_fault_of_its_weights(self, kind: CauseKind) -> None:
        assert self.blamed(cause(CauseKind.NONFINITE_ACTIVATION, "inner"), cause(kind, "outer")) == "inner"

    def test_a_module_without_parameters_cannot_be_redrawn(self) -> None:
        setting = Setting()
        setting.trainer.model.register_module("act", nn.ReLU())
        points = setting.context.points
        found = (cause(CauseKind.NONFINITE_ACTIVATION, "act"),)
        assert ActionContext(points, setting.restoring, Redrawing(), None, found).blamed_module is None

    def test_a_frozen_module_is_not_redrawn(self) -> None:
        """Nothing would train what was drawn in the place of its weights."""
        setting = Setting()
        setting.trainer.model.requires_grad_(False)
        found = (cause(CauseKind.NONFINITE_ACTIVATION, "inner"),)
        assert ActionContext(setting.context.points, setting.restoring, Redrawing(), None, found).blamed_module is None

    def test_a_module_blamed_earlier_in_the_incident_is_redrawn_in_its_later_course(self) -> None:
        setting = Setting(SKIP, {"action": "reinitialize"})
        setting.flag(diagnosis=Diagnosis(cause(CauseKind.NONFINITE_ACTIVATION, "inner")))
        assert setting.flag().effect.modules == ("inner",)

    def test_each_incident_and_each_attempt_draws_another_seed(self) -> None:
        setting = Setting()
        seeds = [setting.context.next_draw_seed()]
        for _ in range(3):
            setting.flag()
            seeds.append(setting.context.next_draw_seed())
        assert len(set(seeds)) == 4
        assert seeds[0] == Setting().context.next_draw_seed()
        other = ActionContext(setting.context.points, setting.restoring, Redrawing(8))
        assert other.next_draw_seed() != setting.context.next_draw_seed()
        assert all(0 <= seed < 2**63 for seed in seeds)

    def test_before_any_update_there_is_none_to_answer(self) -> None:
        setting = Setting()
        setting.context.restore_good_state(DataAfterReload.REPLAY)
        assert setting.last("restoring.restore") == (DataAfterReload.REPLAY, None)

    def test_it_knows_the_training_objects(self) -> None:
        context = Setting(good=False).context
        assert isinstance(context.model, nn.Module)
        assert context.optimizer is context.points.subject.optimizer
        assert (context.any_good_state, context.data_can_go_back) == (False, False)

    def test_modules_are_redrawn_by_the_trainer_where_it_has_a_rule(self) -> None:
        module, generator = nn.Linear(1, 1), torch.Generator()
        assert not Setting().context.reset_by_trainer("outer", module, generator)
        asked = []

        def by_trainer(*given: Any) -> bool:
            asked.append(given)
            return True

        assert Setting(by_trainer=by_trainer).context.reset_by_trainer("outer", module, generator)
        assert asked == [("outer", module, generator)]


def test_an_ended_incident_is_recorded_as_halted_by_the_ledger_alone() -> None:
    """The recovery decides; how the run ends is for whoever lets it go on."""
    setting = Setting({"action": "halt"})
    setting.flag()
    assert setting.ledger.incident is not None
    assert setting.ledger.incident.outcome is Outcome.OPEN


def test_several_findings_are_answered_together() -> None:
    setting = Setting()
    found = setting.flag((*POISONED, *NAN_LOSS))
    assert found.decision.action is ActionName.RELOAD_CHECKPOINT
    assert setting.last("record.opened")[1] == (*POISONED, *NAN_LOSS)
    assert isinstance(setting.last("diagnostician.write_bundle")[1], Attempt)
