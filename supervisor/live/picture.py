"""What the live view shows of a run at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from supervisor.events.heartbeat_file import Pulse
from supervisor.events.narration import Line, Tone
from supervisor.report.run_status import RunState

__all__ = ["Picture", "Signs"]


@dataclass(frozen=True, slots=True)
class Signs:
    """What a run shows of itself beside its log, at one moment.

    Attributes:
        now: the moment.
        state: whether it lives, by its log, its lock and its heartbeat.
        reason: why it halted, what its worker died of, or how it is known to be dead.
        pulse: the last thing that its worker said; None where no heartbeat tells.
        speed: steps a second, by the heartbeat; None where that is not known.
        memory: bytes that its worker holds, likewise.
        ladder: the rungs of its policy, from the lowest; empty where that is not known.
        ranks: how many ranks write a log.
        stopping: whether it was asked to stop.
        over: whether its parent has ended it, however far it has got.
    """

    now: datetime
    state: RunState = RunState.RUNNING
    reason: str | None = None
    pulse: Pulse | None = None
    speed: float | None = None
    memory: int | None = None
    ladder: tuple[str, ...] = ()
    ranks: int = 1
    stopping: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """What is shown, as plain values: `drawing` makes rows of it.

    Attributes:
        state: what the run is at, in words.
        tone: how good that is.
        reason: why, where there is something to say.
        about: trainer and device, as far as they are known.
        seconds: wall time so far; None before it began.
        step: steps used up.
        steps: where the schedule ends; None where that is not known.
        seconds_left: until then, at the present speed; None where that is not known.
        loss: of the last logged step, or the last one of all where the run has ended.
        losses: step and loss of logged steps, in order.
        grad_norm: of the last logged step.
        lr: its learning rate, cuts included.
        lr_scale: product of the cuts in force.
        incidents: how many were opened.
        incident_steps: the steps at which they were.
        open_incident: number of the open one.
        rung: index of the rung used last in it.
        action: the action of that rung.
        cured: how many incidents each action has cured.
        ladder: the rungs of the policy, from the lowest.
        restarts: how often the worker was started again.
        restart_steps: how far the run had got each time.
        bad_batches: batches that were discarded for their data.
        speed: steps a second.
        goodput: useful preserved training time over wall time.
        memory: bytes that the worker holds.
        saved: the step of the newest checkpoint; None before the first.
        metrics: the last evaluation.
        ranks: how many ranks write a log.
        recent: the last lines about what went wrong and what was done, oldest first.
    """

    state: str
    tone: Tone
    reason: str | None
    about: str
    seconds: float | None
    step: int
    steps: int | None
    seconds_left: float | None
    loss: float | None
    losses: tuple[tuple[int, float], ...]
    grad_norm: float | None
    lr: float | None
    lr_scale: float
    incidents: int
    incident_steps: tuple[int, ...]
    open_incident: int | None
    rung: int | None
    action: str | None
    cured: dict[str, int]
    ladder: tuple[str, ...]
    restarts: int
    restart_steps: tuple[int, ...]
    bad_batches: int
    speed: float | None
    goodput: float | None
    memory: int | None
    saved: int | None
    metrics: dict[str, float]
    ranks: int
    recent: tuple[Line, ...]
