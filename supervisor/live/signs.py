"""What a run shows of itself beside its log: its lock, its heartbeat, its memory and its policy."""

from __future__ import annotations

import contextlib
from collections import deque

from supervisor.clock import Clock
from supervisor.errors import InputError
from supervisor.events.heartbeat_file import Phase, Pulse, read_pulse
from supervisor.events.owner_file import read_owner
from supervisor.events.pace import resident_bytes
from supervisor.live.picture import Signs
from supervisor.policy import RestartSettings, load_policy
from supervisor.report.liveness import as_it_lives
from supervisor.report.run_status import Status
from supervisor.run_layout import RunLayout

__all__ = ["SignsReader", "Speed"]

LOOK_SECONDS = 0.5
"""Time between two looks that the speed goes by."""

LOOKS = 60
"""How many of them it is taken over."""


class Speed:
    """Steps a second, by what heartbeats say of the steps done."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque(maxlen=LOOKS)

    def look(self, pulse: Pulse | None, now: float) -> None:
        """Take in a reading at `now` seconds of a clock that never goes back."""
        if pulse is None or pulse.phase is not Phase.TRAINING or not pulse.slowest_seconds:
            # Another worker counts anew, and an evaluation is no step.
            self._looks.clear()
            return
        looks = self._looks
        if looks and pulse.beats < looks[-1][1]:
            looks.clear()
        if not looks or now - looks[-1][0] >= LOOK_SECONDS:
            looks.append((now, pulse.beats))

    @property
    def steps_a_second(self) -> float | None:
        """Over the last half minute or so; None before there is anything to go by."""
        if len(self._looks) < 2:
            return None
        (began, first), (now, last) = self._looks[0], self._looks[-1]
        return (last - first) / (now - began) if last > first else None


class SignsReader:
    """Looks at a run directory.

    Args:
        layout: of the run directory.
        clock: says when.
    """

    def __init__(self, layout: RunLayout, clock: Clock) -> None:
        self._layout = layout
        self._clock = clock
        self._speed = Speed()
        self._policy_of: tuple[int, int] | None = None
        self._settings = RestartSettings()
        self._ladder: tuple[str, ...] = ()

    def read(self, status: Status, worker: int | None, ranks: int) -> Signs:
        """The signs at this moment.

        Args:
            status: of the run, by its log.
            worker: the process that works on it; None where there is none.
            ranks: how many ranks write a log.
        """
        self._look_at_the_policy()
        alive = as_it_lives(status, self._layout, self._clock, self._settings)
        pulse = read_pulse(self._layout.heartbeat)
        self._speed.look(pulse, self._clock.monotonic())
        owner = read_owner(self._layout.lock)
        here = worker is not None and owner is not None and bool(owner.alive)
        return Signs(
            now=self._clock.now(),
            state=alive.state,
            reason=alive.reason,
            pulse=pulse,
            speed=self._speed.steps_a_second,
            memory=resident_bytes(worker) if here and worker is not None else None,
            ladder=self._ladder,
            ranks=ranks,
        )

    def _look_at_the_policy(self) -> None:
        """Read it again where a resume has brought another one."""
        try:
            found = self._layout.policy.stat()
        except OSError:
            return
        which = (found.st_ino, found.st_mtime_ns)
        if which == self._policy_of:
            return
        self._policy_of = which
        with contextlib.suppress(InputError):
            policy = load_policy(str(self._layout.policy))
            self._settings = policy.restart
            self._ladder = tuple(str(rung.action) for rung in policy.ladder)
