"""Whether a run that has not ended is still there: by the owner of its lock, and by the heartbeat of its worker."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from supervisor.clock import Clock, SystemClock
from supervisor.errors import InputError
from supervisor.events.heartbeat_file import Pulse, read_pulse, silence_allowed
from supervisor.events.owner_file import Owner, monotonic_since, read_owner
from supervisor.report.durations import duration
from supervisor.report.run_status import RunState, Status
from supervisor.run_layout import RunLayout

if TYPE_CHECKING:
    from supervisor.policy import RestartSettings

__all__ = ["as_it_lives", "is_healthy", "restart_settings"]

_ALWAYS_ALLOWED = 1.0
"""So many seconds of silence are nothing under any policy that makes sense, and worth no look into it."""

_GOES_ON = (RunState.RUNNING, RunState.STALLED, RunState.UNKNOWN)


def as_it_lives(
    status: Status, layout: RunLayout, clock: Clock | None = None, settings: RestartSettings | None = None
) -> Status:
    """The status, but `dead` where the process that ran it is gone, and `stalled` where its worker is silent.

    Args:
        status: by the log.
        layout: of the run directory.
        clock: says what time it is.
        settings: how long its policy lets a worker be silent; None: read from the policy where that matters.
    """
    if status.state not in _GOES_ON:
        return status
    clock, owner = clock or SystemClock(), read_owner(layout.lock)
    alive = None if owner is None else owner.alive
    if alive is False:
        return status.model_copy(update={"state": RunState.DEAD, "reason": _how_it_went(status, layout, clock)})
    pulse = read_pulse(layout.heartbeat)
    if pulse is None or owner is None:
        state = RunState.RUNNING if alive else status.state
        return status.model_copy(update={"state": state})
    age = _age(pulse, owner, clock)
    told: dict[str, object] = {"heartbeat_seconds": age}
    # A worker that is gone gives no signs, and its parent waits before it starts the next one.
    waits = status.reason is not None and status.state is RunState.RUNNING
    if age > _ALWAYS_ALLOWED and not waits and age > _allowed(pulse, settings or restart_settings(layout)):
        where = "" if alive else f"; it runs on {owner.host}, whose processes cannot be seen from here"
        reason = status.reason or f"its worker has not given a sign of life for {duration(age)}{where}"
        told |= {"state": RunState.STALLED, "reason": reason}
    elif status.state is RunState.UNKNOWN and alive:
        told["state"] = RunState.RUNNING
    return status.model_copy(update=told)


def is_healthy(status: Status, layout: RunLayout, max_age: float | None = None, clock: Clock | None = None) -> bool:
    """Whether the run has finished, or runs and has given a sign of life lately.

    Args:
        status: of the run.
        layout: of its directory.
        max_age: how old its last sign of life may be, in seconds; None: as its policy allows. Without a heartbeat (a
            guard in a loop of one's own) the last line of its log is one.
        clock: says what time it is.
    """
    if status.state is not RunState.RUNNING:
        return status.state is RunState.FINISHED
    if max_age is None:
        return True
    age = status.heartbeat_seconds
    if age is None:
        written = [path.stat().st_mtime for path in layout.event_files()]
        now = (clock or SystemClock()).now().timestamp()
        age = now - max(written) if written else None
    return age is not None and age < max_age


def _age(pulse: Pulse, owner: Owner, clock: Clock) -> float:
    here = owner.boot is not None and owner.boot == monotonic_since()
    age = clock.monotonic() - pulse.monotonic if here else clock.now().timestamp() - pulse.timestamp
    return max(0.0, age)


def restart_settings(layout: RunLayout) -> RestartSettings:
    """Those of the policy of a run; the built-in ones where it cannot be read."""
    # Takes a tenth of a second, which a look at a run that is well need not wait for.
    from supervisor.policy import RestartSettings, load_policy

    with contextlib.suppress(InputError):
        if layout.policy.is_file():
            return load_policy(str(layout.policy)).restart
    return RestartSettings()


def _allowed(pulse: Pulse, settings: RestartSettings) -> float:
    return silence_allowed(pulse, settings.stall_timeout_seconds, settings.startup_timeout_seconds)


def _how_it_went(status: Status, layout: RunLayout, clock: Clock) -> str:
    """Since when it is gone, what its worker died of, and how it can go on."""
    if status.reason is not None:
        how = f"{status.reason}, and nobody starts it again"
    else:
        ago = None if status.updated is None else duration((clock.now() - status.updated).total_seconds())
        how = "ended without a word" + ("" if ago is None else f" (last event {ago} ago)")
    resume = f"supervisor resume {layout.root}" if layout.of_job else "Guard(..., resume=True)"
    there = any(layout.checkpoints.glob("step-*"))
    return f"{how}; " + (f"go on with {resume}" if there else "there is no checkpoint to go on from")
