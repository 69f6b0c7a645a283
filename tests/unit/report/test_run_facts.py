"""What the events alone tell: how a run ended, and what a process does after that."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.events import schema
from supervisor.events.headroom_event import HeadroomEvent
from supervisor.events.schema import ExitClassification
from supervisor.headroom import Forecast, Quantity
from supervisor.records import Signal, SignalName
from supervisor.report.run_facts import RunFacts
from supervisor.report.status import RunState

STARTED = schema.WorkerStartedEvent(pid=6, steps=1600)


def test_a_resume_with_more_steps_stands_against_those(run: Any) -> None:
    run.step(10, 99)
    run.at(11, run.finished())
    assert (run.status().step, run.status().steps) == (100, 100)
    run.at(20, STARTED)
    run.at(21, schema.RunResumedEvent(checkpoint_step=100, update=100))
    run.step(30, 1599)
    status = run.status()
    assert (status.step, status.steps, status.state) == (1600, 1600, RunState.RUNNING)


def test_a_loop_of_ones_own_that_went_on_beyond_its_end_has_none(run: Any) -> None:
    """It was resumed in the constructor, where it does not know yet how far it will go."""
    run.step(10, 99)
    run.at(20, schema.RunResumedEvent(checkpoint_step=100, update=100))
    run.step(30, 119)
    assert (run.status().step, run.status().steps) == (120, None)


def test_a_worker_that_waits_to_be_started_again_is_part_of_a_running_run(run: Any) -> None:
    run.at(1, STARTED)
    run.at(2, schema.RunResumedEvent(checkpoint_step=0, update=0))
    run.at(3, run.exited(ExitClassification.KILLED))
    assert (run.status().state, run.status().reason) == (RunState.RUNNING, "worker 5 is gone: killed (SIGKILL)")
    run.at(4, STARTED)
    assert (run.status().state, run.status().reason) == (RunState.RUNNING, None)


def test_a_stalled_worker_is_told_until_it_is_gone(run: Any) -> None:
    run.at(1, schema.WorkerStalledEvent(pid=5, seconds=300))
    status = run.status()
    assert (status.state, status.reason) == (RunState.STALLED, "worker 5 has not given a sign of life for 5 min")
    run.at(2, run.exited(ExitClassification.STALLED))
    assert run.status().state is RunState.RUNNING


@pytest.mark.parametrize("classification", [*ExitClassification])
def test_once_the_end_is_on_record_no_exit_changes_it(run: Any, classification: ExitClassification) -> None:
    run.at(1, run.finished())
    run.at(2, run.exited(classification))
    assert (run.status().state, run.status().reason) == (RunState.FINISHED, None)


def test_a_resume_that_is_bad_input_leaves_the_run_as_it_was(run: Any) -> None:
    run.at(1, schema.RunHaltedEvent(reason="nothing left"))
    run.at(5, STARTED)
    assert run.status().state is RunState.RUNNING
    run.at(6, run.exited(ExitClassification.BAD_INPUT))
    assert (run.status().state, run.status().reason) == (RunState.HALTED, "nothing left")


def test_time_passes_in_what_a_resume_has_made_void_and_nothing_else_of_it_counts(run: Any) -> None:
    run.step(10, 19)
    run.at(20, schema.RunResumedEvent(checkpoint_step=0, update=0))
    facts = RunFacts()
    facts.tell(schema.RunStartedEvent(steps=100))
    facts.tell(schema.StepEvent.model_validate(STEP), void=True)
    assert (facts.status().step, facts.status().update) == (0, None)
    assert run.status().seconds == 20
    assert run.status().account.wasted == 10


STEP = {**dict.fromkeys(("loss", "grad_norm", "lr", "lr_scale", "step_seconds"), 1.0), "step": 19, "update": 19}


def test_the_last_forecast_is_told_and_one_that_a_resume_made_void_is_not(run: Any) -> None:
    assert run.status().headroom is None
    of_weights = Forecast(Quantity.WEIGHT_NORM, "w", 2.0, 8.0, 0.01, 139)
    run.at(1, HeadroomEvent.from_forecast(of_weights, step=3, update=4))
    said = "step 3: the norm of w grows by 1 % an update: from 2 past 8 in 139 updates, if it goes on"
    assert run.status().headroom == said
    facts = RunFacts()
    facts.tell(HeadroomEvent.from_forecast(of_weights, step=3, update=4), void=True)
    assert facts.status().headroom is None


def test_weights_that_began_with_an_unusual_scale_are_told(run: Any) -> None:
    assert run.status().initial_scale is None
    found = Signal(SignalName.INITIAL_SCALE, {"tensors": ("a.weight", "b.weight"), "tensor_count": 2, "scale": 19.5})
    run.at(1, schema.SignalEvent.from_signal(found, step=0, update=0))
    assert run.status().initial_scale == "weights of an unusual scale (19.5): a.weight, b.weight"
