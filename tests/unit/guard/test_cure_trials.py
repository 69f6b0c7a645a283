"""The trials of a rung's cures: which are tried, on what, and what comes of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.exact import assert_same
from support.parts import Parts, attempt_of, log_to, point_of
from support.traces import all_of
from support.training import EventList
from torch import nn

from supervisor.errors import ActionError
from supervisor.experiments import CuresInForce
from supervisor.guard.cure_trials import CureRequest, CureTrials, StopRequest, Trial, modules_named
from supervisor.policy import Cure, NamedCure, TryCuresRung
from supervisor.states.restore_points import RestorePoint
from supervisor.testing.tiny import tiny_batches, with_nan

UPDATES = [(batch,) for batch in tiny_batches(7)]
RUNG = TryCuresRung(
    steps=5,
    probe_batches=2,
    cures=(NamedCure.KEEP, Cure(lr=0.5), Cure(lr=10.0), Cure(momentum=0.9), NamedCure.REINITIALIZE_FLAGGED),
)


class Setting:
    def __init__(self, *, of_itself: bool = False, flagged: tuple[str, ...] = (), model: Any = None) -> None:
        self.parts = Parts.of(model)
        subject = self.parts.subject
        cures = CuresInForce(subject, self.parts.executor)
        cures.flagged = flagged
        self.heard, self.redrawn = EventList(), list[tuple[str, ...]]()
        request = CureRequest(RUNG, attempt_of(9), lambda modules: self.redrawn.append(tuple(modules)), of_itself)
        log = log_to(self.heard)
        self.trials = CureTrials(subject, self.parts.executor, cures, StopRequest(), log, request)
        self.point = RestorePoint(4, 4, 4, 0.0, subject.capture(), {})

    def run(self, updates: Any = UPDATES) -> list[str]:
        before = all_of(self.parts.subject)
        self.trials.run(self.point, updates, 1)
        assert_same(all_of(self.parts.subject), before)
        return [trial.label for trial in self.trials.done]


def test_those_that_apply_are_tried_and_told() -> None:
    setting = Setting()
    assert setting.run() == ["keep", "lr 0.5"]
    assert [(event.cure, event.from_step, event.incident) for event in setting.heard] == [
        ("keep", 4, 1),
        ("lr 0.5", 4, 1),
    ]
    assert all(math.isfinite(trial.score) and trial.zeros for trial in setting.trials.done)


def test_a_higher_rate_is_tried_where_the_set_up_is_in_question_and_redrawing_where_something_is_flagged() -> None:
    setting = Setting(of_itself=True, flagged=("outer",))
    assert setting.run() == ["keep", "lr 0.5", "lr 10.0", "reinitialize_flagged"]
    assert setting.redrawn == [("outer",)]


def test_in_place_of_a_part_of_a_cell_the_cell_is_redrawn() -> None:
    class OwnCell(nn.Module):
        is_recurrent_cell = True

        def __init__(self) -> None:
            super().__init__()
            self.inward, self.around = nn.Linear(4, 3), nn.Linear(3, 3)

        def reset_parameters(self) -> None:
            nn.init.eye_(self.around.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.around(torch.tanh(self.inward(x)))
            return out

    setting = Setting(
        of_itself=True, flagged=("0.around", "0.inward", "1"), model=nn.Sequential(OwnCell(), nn.Linear(3, 3))
    )
    assert setting.run()[-1] == "reinitialize_flagged"
    assert setting.redrawn == [("0", "1")]


def test_where_the_scale_of_weights_alone_is_in_question_only_they_are_redrawn() -> None:
    setting = Setting(of_itself=True, flagged=("outer",))
    setting.trials.cures.redraws_only = True
    assert setting.run() == ["keep", "reinitialize_flagged"]
    # A reload that led no further has other reasons.
    asked = Setting(flagged=("outer",))
    asked.trials.cures.redraws_only = True
    assert asked.run() == ["keep", "lr 0.5", "reinitialize_flagged"]


def test_those_that_are_close_are_trained_for_longer_and_told_again() -> None:
    setting = Setting()
    setting.run()
    before = all_of(setting.parts.subject)
    setting.trials.look_longer(setting.trials.done[1:], [*UPDATES, *UPDATES[2:]], 1)
    assert_same(all_of(setting.parts.subject), before)
    keep, lower = setting.trials.done
    assert keep.longer is None
    assert lower.longer is not None
    assert lower.longer != lower.score
    assert [(event.cure, event.updates) for event in setting.heard] == [("keep", 5), ("lr 0.5", 5), ("lr 0.5", 10)]


def test_changing_nothing_is_tried_from_the_first_state_alone() -> None:
    setting = Setting()
    setting.run()
    assert setting.run() == ["keep", "lr 0.5", "lr 0.5"]


def test_a_bad_batch_is_left_out_unless_most_are() -> None:
    setting = Setting()
    setting.run([(with_nan(UPDATES[0][0]),), *UPDATES[1:]])
    assert math.isfinite(setting.trials.done[0].score)
    bad = Setting()
    bad.run([(with_nan(each[0]),) for each in UPDATES])
    assert bad.trials.done[0].score == math.inf
    with pytest.raises(ActionError, match="too few"):
        Setting().run(UPDATES[:2])


def test_dead_units_are_told_beside() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    with torch.no_grad():
        model[0].bias.fill_(-100)
    setting = Setting(model=model)
    setting.run()
    assert [(event.signal, event.share) for event in setting.heard if event.event == "signal"] == [("dead_units", 1.0)]


def test_a_cure_that_only_loses_more_slowly_does_not_lead_on() -> None:
    def trial(start: float, score: float) -> Trial:
        return Trial("lr 0.1", Cure(lr=0.1), point_of(0), start, None, score)

    assert trial(1.0, 1.05).leads_on(0.1)
    assert not trial(1.0, 1.2).leads_on(0.1)
    assert trial(math.inf, 1e9).leads_on(0.1)
    assert not trial(-1.0, 0.0).leads_on(0.1)


def test_modules_that_are_gone_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(1, 1))
    assert modules_named(("0", "7"), model) == {"0": model[0]}
