"""The events of a run, folded into what its live view shows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta

from supervisor.events import schema
from supervisor.events.heartbeat_file import Phase, Pulse
from supervisor.events.narration import Line, Narrator, Tone
from supervisor.events.schema import Event
from supervisor.live.loss_curve import LossCurve
from supervisor.live.picture import Picture, Signs
from supervisor.report.run_facts import RunFacts
from supervisor.report.run_status import RunState, Status

__all__ = ["RECENT", "LiveFold"]

RECENT = 3
"""So many of the last lines about what went wrong are kept in sight."""

_MARKS = 500
"""So many incidents have their mark, the newest."""

_LOOKS = 20
"""Over so many logged steps the speed is taken, where no heartbeat tells it."""

_GOES_ON = (RunState.RUNNING, RunState.STALLED, RunState.UNKNOWN)
_ENDED = {
    RunState.FINISHED: ("finished", Tone.GOOD),
    RunState.HALTED: ("halted", Tone.BAD),
    RunState.INTERRUPTED: ("interrupted", Tone.RECOVERY),
    RunState.UNSAVED: ("ended, and not saved", Tone.BAD),
    RunState.DEAD: ("dead", Tone.BAD),
}


class LiveFold:
    """Takes in the events of a run in order, and gives what a person sees of it at a moment.

    A resume makes earlier events void. They cannot be taken back: after one, a new fold is told everything.

    Attributes:
        curve: the losses of logged steps.
        summary: what the run came to, once it has ended.
        worker: the number of the worker's process; None while there is none.
        steps: where the schedule ends; None where that is not known.
    """

    def __init__(self) -> None:
        self.curve = LossCurve()
        self.summary: schema.RunSummary | None = None
        self.worker: int | None = None
        self.steps: int | None = None
        self._facts = RunFacts()
        self._narrator = Narrator()
        self._recent: deque[Line] = deque(maxlen=RECENT)
        self._incident_steps: deque[int] = deque(maxlen=_MARKS)
        self._restart_steps: deque[int] = deque(maxlen=_MARKS)
        self._restarts = 0
        self._action: str | None = None
        self._about = ""
        self._saved: int | None = None
        # Where its process is: gone since, started again at, and whether it goes on by now.
        self._gone = False
        self._again_at: datetime | None = None
        self._begun = False
        self._life = 0
        # Seconds of the run and the update, of the last logged steps.
        self._looks: deque[tuple[float, int]] = deque(maxlen=_LOOKS)

    @property
    def begun(self) -> bool:
        """Whether the run has begun at all."""
        return self._facts.status().state is not RunState.UNKNOWN

    def status(self) -> Status:
        """Where the run stands, as far as the log tells."""
        return self._facts.status()

    def tell(self, event: Event, *, void: bool = False) -> list[Line]:
        """Take in the next event.

        Returns:
            The lines that it completes for a person, often none.
        """
        before = self._facts.position
        self._facts.tell(event, void=void)
        if void or event.rank:
            return []
        self._tell_process(event, before)
        self._tell_progress(event)
        lines = self._narrator.tell(event)
        self._recent.extend(line for line in lines if line.tone is not Tone.PLAIN)
        return lines

    def sample(self, losses: Iterable[tuple[int, float]]) -> None:
        """Take in losses of the part of the log that was read sparsely, in the order in which they were written."""
        told, self.curve = self.curve, LossCurve()
        for step, loss in losses:
            self.curve.add(step, loss)
        self.curve.back_to(self._facts.position)
        for step, loss in told.points[-1:]:
            self.curve.add(step, loss)

    def _tell_process(self, event: Event, position: int) -> None:
        if isinstance(event, schema.WorkerStartedEvent | schema.RunStartedEvent | schema.RunResumedEvent):
            self.steps = event.steps or self.steps
        match event:
            case schema.WorkerStartedEvent():
                self._restarts += self._gone
                self._gone, self._again_at, self._begun = False, None, False
                self.worker, self._life = event.pid, self._life + 1
            case schema.WorkerRestartingEvent():
                self._again_at = event.time + timedelta(seconds=max(0.0, event.seconds))
            case schema.WorkerExitedEvent():
                self.worker = None
                self._looks.clear()
                self._gone = event.classification not in {
                    *schema.ORDERLY_EXITS,
                    schema.ExitClassification.BAD_INPUT,
                }
                if self._gone:
                    self._restart_steps.append(position)
            case schema.RunStartedEvent() | schema.RunResumedEvent():
                self._begun, self._gone, self.summary = True, False, None
                self._looks.clear()
                if isinstance(event, schema.RunStartedEvent):
                    trainer = (event.trainer or "").rpartition(":")[2]
                    self._about = " on ".join(part for part in (trainer, event.device) if part)
            case schema.RunFinishedEvent() | schema.RunHaltedEvent():
                self.summary = event.summary

    def _tell_progress(self, event: Event) -> None:
        match event:
            case schema.StepEvent(step=int(step), update=int(update)):
                self.curve.add(step, event.loss)
                self._looks.append((self._facts.accounting.timeline.now, update))
            case schema.IncidentOpenedEvent(step=int(step)):
                self._incident_steps.append(step)
            case schema.DecisionEvent():
                self._action = event.action
            case schema.ActionAppliedEvent(restored_step=int(step)):
                self.curve.back_to(step)
            case schema.RunResumedEvent():
                self.curve.back_to(event.checkpoint_step)
            case schema.CheckpointSavedEvent():
                self._saved = event.checkpoint_step

    def picture(self, signs: Signs) -> Picture:
        """What is to be seen at the moment of `signs`."""
        status = self._facts.status()
        state, tone = self._state(status, signs)
        goes_on = signs.state in _GOES_ON and not signs.over
        step = self._position(status, signs.pulse) if goes_on else status.step or 0
        speed = signs.speed if goes_on and signs.speed is not None else self.speed
        left = None if status.steps is None or not speed or not goes_on else (status.steps - step) / speed
        return Picture(
            state=state,
            tone=tone,
            reason=signs.reason,
            about=self._about,
            seconds=self._seconds(status, signs.now if goes_on else None),
            step=step,
            steps=status.steps,
            seconds_left=left if self._begun and not self._gone else None,
            loss=status.loss,
            losses=self.curve.points,
            grad_norm=status.grad_norm,
            lr=None if status.lr is None else status.lr * status.lr_scale,
            lr_scale=status.lr_scale,
            incidents=status.incidents,
            incident_steps=tuple(self._incident_steps),
            open_incident=status.open_incident,
            rung=status.rung,
            action=None if status.rung is None else self._action,
            cured={str(action): count for action, count in status.cured_by.items()},
            ladder=signs.ladder,
            restarts=self._restarts,
            restart_steps=tuple(self._restart_steps),
            bad_batches=status.bad_batches,
            speed=speed,
            goodput=status.goodput,
            memory=signs.memory,
            saved=self._saved,
            metrics=status.metrics,
            ranks=signs.ranks,
            recent=tuple(self._recent),
        )

    def _state(self, status: Status, signs: Signs) -> tuple[str, Tone]:
        if signs.state in _ENDED:
            return _ENDED[signs.state]
        if signs.over:
            return "given up", Tone.BAD
        if signs.state is RunState.STALLED:
            return "stalled", Tone.BAD
        if signs.stopping:
            return "stopping after this step", Tone.RECOVERY
        if self._gone:
            left = None if self._again_at is None else (self._again_at - signs.now).total_seconds()
            return f"restarting in {left:.0f} s" if left is not None and left >= 1 else "restarting", Tone.RECOVERY
        if not self._begun and not self._life and signs.state is RunState.UNKNOWN:
            return "nothing has begun yet", Tone.PLAIN
        if not self._begun:
            again = self._life > 1 and status.state is not RunState.UNKNOWN
            return "starting again" if again else "starting", Tone.RECOVERY if again else Tone.PLAIN
        if signs.pulse is not None and signs.pulse.phase is Phase.FINISHING:
            return "evaluating", Tone.GOOD
        return ("recovering", Tone.RECOVERY) if status.rung is not None else ("running", Tone.GOOD)

    def _position(self, status: Status, pulse: Pulse | None) -> int:
        """Steps used up: between two lines of the log the heartbeat tells."""
        position = status.step or 0
        told = pulse is not None and pulse.slowest_seconds > 0 and pulse.phase in (Phase.TRAINING, Phase.FINISHING)
        if pulse is None or not told or status.updated is None or pulse.timestamp < status.updated.timestamp():
            return position
        return pulse.step + 1

    @property
    def speed(self) -> float | None:
        """Steps a second over the last logged ones; None before there are two."""
        if len(self._looks) < 2:
            return None
        (began, first), (now, last) = self._looks[0], self._looks[-1]
        return (last - first) / (now - began) if now > began and last > first else None

    @staticmethod
    def _seconds(status: Status, now: datetime | None) -> float | None:
        if status.started is None or status.updated is None:
            return None
        since = 0.0 if now is None else max(0.0, (now - status.updated).total_seconds())
        return status.seconds + since
