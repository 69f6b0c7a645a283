"""The events of a run, folded into what its live view shows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from supervisor.events import schema
from supervisor.events.heartbeat_file import Phase, Pulse
from supervisor.events.narration import Tone
from supervisor.events.reader import read_events
from supervisor.events.schema import ExitClassification
from supervisor.live.fold import LiveFold
from supervisor.live.picture import Picture, Signs
from supervisor.report.run_status import RunState


def folded(written: Any) -> LiveFold:
    fold = LiveFold()
    for event in read_events(written.layout.root):
        fold.tell(event)
    return fold


def seen(written: Any, **signs: Any) -> Picture:
    return folded(written).picture(Signs(now=written.clock.now(), **signs))


def test_nothing_is_known_of_a_run_that_has_not_begun(written: Any) -> None:
    assert seen(written, state=RunState.UNKNOWN).state == "nothing has begun yet"
    written.at(0, schema.WorkerStartedEvent(pid=7, steps=100))
    fold = folded(written)
    assert not fold.begun
    picture = fold.picture(Signs(now=written.clock.now()))
    assert (picture.state, picture.step, picture.steps, picture.loss) == ("starting", 0, 100, None)
    assert (picture.seconds_left, picture.goodput, picture.losses) == (None, None, ())


def test_a_run_that_trains(written: Any) -> None:
    written.begin()
    written.step(11, 19, loss=3.0)
    written.step(21, 39, loss=2.0)
    written.at(22, schema.CheckpointSavedEvent(checkpoint_step=40, path="checkpoints/step-00000040"))
    written.clock.advance(8)
    picture = seen(written)
    assert (picture.state, picture.tone, picture.about) == ("running", Tone.GOOD, "Tiny on cpu")
    assert (picture.step, picture.steps, picture.loss, picture.grad_norm) == (40, 100, 2.0, 2.0)
    assert (picture.lr, picture.lr_scale) == (0.005, 0.5)
    assert picture.losses == ((19, 3.0), (39, 2.0))
    assert picture.speed == 2.0
    assert picture.seconds_left == 30.0
    assert picture.seconds == 30.0
    assert picture.saved == 40


def test_between_two_logged_steps_the_heartbeat_tells_the_place_and_the_pace(written: Any) -> None:
    written.begin()
    written.step(11, 39)
    now = written.clock.now().timestamp()
    pulse = Pulse(50, 49, 0.2, Phase.TRAINING, timestamp=now + 1)
    assert (seen(written, pulse=pulse).step, seen(written, pulse=pulse, speed=5.0).seconds_left) == (50, 10.0)
    # One from before the last line: the run has gone back since.
    assert seen(written, pulse=Pulse(50, 49, 0.2, Phase.TRAINING, timestamp=now - 1)).step == 40
    # A worker that has only just been started.
    assert seen(written, pulse=Pulse(0, 0, 0.0, Phase.STARTING, timestamp=now + 1)).step == 40
    assert seen(written, pulse=Pulse(51, 49, 0.2, Phase.FINISHING, timestamp=now + 1)).state == "evaluating"


def test_an_open_incident_shows_its_rung_and_a_closed_one_its_cure(written: Any) -> None:
    written.begin()
    written.flag(5, 30, 1)
    written.close(7, 50, 1)
    written.flag(8, 60, 2, restored_step=40)
    picture = seen(written)
    assert (picture.state, picture.tone) == ("recovering", Tone.RECOVERY)
    assert (picture.open_incident, picture.rung, picture.action) == (2, 2, "reload_checkpoint")
    assert (picture.incidents, picture.incident_steps) == (2, (30, 60))
    assert [line.text.split("  ")[0] for line in picture.recent] == ["step 30", "step 60"]
    written.close(9, 80, 2)
    picture = seen(written)
    assert (picture.state, picture.rung, picture.action, picture.cured) == ("running", None, None, {"skip_batch": 2})


def test_going_back_takes_the_losses_along(written: Any) -> None:
    written.begin()
    for step in (19, 39, 59):
        written.step(step, step)
    written.flag(60, 60, 1, restored_step=40)
    assert [step for step, _ in seen(written).losses] == [19, 39]


def test_a_death_its_pause_and_the_start_after_it(written: Any) -> None:
    written.begin()
    written.step(11, 39)
    written.die(20, pause=4.0)
    written.clock.advance(1)
    picture = seen(written, reason="worker 7 is gone")
    assert (picture.state, picture.tone, picture.reason) == ("restarting in 3 s", Tone.RECOVERY, "worker 7 is gone")
    assert (picture.restarts, picture.restart_steps, picture.seconds_left) == (0, (40,), None)
    written.clock.advance(3)
    assert seen(written).state == "restarting"
    written.at(25, schema.WorkerStartedEvent(pid=8, restarts=1, steps=100))
    assert (seen(written).state, seen(written).restarts, folded(written).worker) == ("starting again", 1, 8)
    written.at(26, schema.RunResumedEvent(step=20, update=20, checkpoint_step=20))
    picture = seen(written)
    assert (picture.state, picture.step, picture.restarts) == ("running", 20, 1)
    assert "worker 8 was started again" in picture.recent[-1].text


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (RunState.HALTED, "halted"),
        (RunState.DEAD, "dead"),
        (RunState.INTERRUPTED, "interrupted"),
        (RunState.UNSAVED, "ended, and not saved"),
        (RunState.STALLED, "stalled"),
    ],
)
def test_an_end_is_called_by_its_name(written: Any, state: RunState, word: str) -> None:
    written.begin()
    written.step(11, 39)
    picture = seen(written, state=state, reason="because")
    assert (picture.state, picture.reason) == (word, "because")


def test_once_it_has_ended_no_time_passes_and_nothing_is_left(written: Any) -> None:
    written.begin()
    written.step(11, 39)
    written.finish(31)
    written.clock.advance(1000)
    fold = folded(written)
    picture = fold.picture(Signs(now=written.clock.now(), state=RunState.FINISHED))
    assert (picture.state, picture.step, picture.seconds, picture.seconds_left) == ("finished", 100, 31.0, None)
    assert (fold.summary.steps, picture.loss) == (100, 0.25)


def test_a_stop_that_was_asked_for_is_told(written: Any) -> None:
    written.begin()
    assert seen(written, stopping=True).state == "stopping after this step"
    assert seen(written, over=True).state == "given up"


def test_a_worker_that_was_asked_to_end_is_no_restart(written: Any) -> None:
    written.begin()
    interrupted = ExitClassification.INTERRUPTED
    written.at(5, schema.WorkerExitedEvent(pid=7, exit_code=75, signal=None, classification=interrupted))
    written.resume(60, 0)
    assert (seen(written).restarts, seen(written).restart_steps) == (0, ())


def test_of_other_ranks_only_the_time_counts(written: Any) -> None:
    written.begin()
    written.step(11, 39)
    fold = folded(written)
    other = schema.StepEvent(step=59, update=59, loss=9.0, grad_norm=1, lr=1, lr_scale=1, step_seconds=1, rank=3)
    stamp = {"time": written.clock.now() + timedelta(seconds=5)}
    assert fold.tell(other.model_copy(update=stamp)) == []
    assert fold.picture(Signs(now=written.clock.now())).loss == 1.0


def test_what_was_read_sparsely_has_its_losses_all_the_same(written: Any) -> None:
    written.begin()
    written.step(11, 79, loss=0.5)
    fold = folded(written)
    fold.sample([(9, 4.0), (59, 9.0), (19, 3.0), (39, 2.0)])
    assert fold.curve.points == ((9, 4.0), (19, 3.0), (39, 2.0), (79, 0.5))
