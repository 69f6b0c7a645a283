"""Whether workers die alike with nothing gained in between, so that the next one would too."""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.errors import ExitCode
from supervisor.events.reading_file import mend_of_rows, said_of_rows
from supervisor.events.schema import ExitClassification
from supervisor.process.exits import WorkerEnd, crashed, dead_loader_processes
from supervisor.process.heartbeat import Phase, Pulse
from supervisor.tracebacks import frame_at_fault

__all__ = ["Raised", "SameDeaths", "raised_in"]

ALIKE_AT_START = 2
"""So many workers in a row that end themselves alike before their first step are no accident."""

ALIKE = 3
"""So many deaths in a row at one update, or before the first one of the run, are no accident."""

_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True, slots=True)
class Raised:
    """What a worker's traceback tells.

    Attributes:
        type: class name of the exception.
        said: its class name and the first line of its text.
        where: `file:line` of the frame at fault (`supervisor.tracebacks`), None where there is none.
    """

    type: str
    said: str
    where: str | None


@dataclass(frozen=True, slots=True)
class _Death:
    how: str
    phase: Phase
    step: int | None
    raised: tuple[str, str | None] | None


@dataclass(slots=True)
class SameDeaths:
    """Compares the end of each worker of one parent with those before it.

    Attributes:
        resume: the run was gone on with, so that it had been built before.
    """

    resume: bool = False
    _deaths: list[_Death] = field(default_factory=list, init=False)
    _stepped: bool = field(default=False, init=False)

    def judge(self, end: WorkerEnd, *, got_on: bool) -> tuple[ExitCode, str] | None:
        """What the run is to end with, and why; None where another worker is worth it.

        Args:
            end: of a worker that died.
            got_on: whether the run has ever got beyond its first steps, as the run directory has it.
        """
        pulse = end.pulse or Pulse(0, 0, 0.0, Phase.STARTING)
        did_a_step = pulse.slowest_seconds > 0
        self._stepped |= did_a_step
        raised = raised_in(end.reason) if end.classification is ExitClassification.EXCEPTION else None
        step = pulse.step if did_a_step else None
        how = (end.how, pulse.phase, step, None if raised is None else (raised.type, raised.where))
        death = _Death(*how)
        if self._deaths[-1:] != [death]:
            self._deaths.clear()
        self._deaths.append(death)
        if (raised is not None or _ended_itself(end)) and self._is_the_program(pulse, raised, got_on=got_on):
            return ExitCode.BAD_INPUT, _told_silent(end, pulse) if raised is None else _told(raised, pulse)
        further = self._stepped or got_on
        if len(self._deaths) >= ALIKE and (did_a_step or not further or _raised_at_a_batch(pulse, raised)):
            first = "before its first step" if further else "before the first step of the run"
            return ExitCode.RESTARTS_SPENT, _what_it_was(end, raised, f"after step {step}" if did_a_step else first)
        return None

    def begin_anew(self) -> None:
        """What the deaths so far had in common is no more."""
        self._deaths.clear()

    def _is_the_program(self, pulse: Pulse, raised: Raised | None, *, got_on: bool) -> bool:
        """Whether an end comes again wherever the run begins: none of its workers has done a step."""
        if self._stepped or len(self._deaths) < ALIKE_AT_START:
            return False
        if raised is not None and dead_loader_processes(raised.said):
            return False
        # A run that has got on was stopped by its data, perhaps, but not by how its trainer is built.
        return pulse.phase is Phase.STARTING or not (self.resume or got_on)


def raised_in(reason: str | None) -> Raised | None:
    """The exception that a traceback ends with; None where the reason of a worker's end is no traceback."""
    if not reason or _TRACEBACK not in reason:
        return None
    # Of several, the last is the one that nobody caught.
    lines = reason.rpartition(_TRACEBACK)[2].splitlines()
    said = next((line for line in lines if line and not line[0].isspace()), lines[-1].strip() if lines else "")
    # Where that has no line of the user's, the ones that led to it have: a generator tells nothing of what it called.
    frame = frame_at_fault(reason)
    return Raised(said.partition(":")[0], said, None if frame is None else frame.place)


def _ended_itself(end: WorkerEnd) -> bool:
    """Whether a worker has ended without an exception, and by nobody else's doing: `os._exit`, or a crash.

    One that was reading a row has been ended by that row, and is `DeadlyRows`'s.
    """
    if end.rows:
        return False
    if end.classification is ExitClassification.EXCEPTION:
        return not end.reason
    return end.classification is ExitClassification.KILLED and crashed(end.returncode)


def _told(raised: Raised, pulse: Pulse) -> str:
    where = f"{raised.where}: " if raised.where else ""
    return f"{where}{raised.said}: raised {_when(pulse)}, and once more when that was tried again: mend this line"


def _told_silent(end: WorkerEnd, pulse: Pulse) -> str:
    """Of an end without an exception; only a crash has left a line behind."""
    twice = f"{_when(pulse)}, and once more when that was tried again"
    frame = frame_at_fault(end.reason)
    if frame is not None:
        return f"{frame.place}: the process crashed here ({end.how}) {twice}: look at the compiled code that it calls"
    if end.returncode < 0:
        look = "look at the compiled extensions that the trainer imports and calls"
        return f"the process crashed ({end.how}) {twice}: {look}"
    look = "look for `os._exit`, or a library that ends the process, in the trainer's module, what it imports and its "
    look += "from_config" if pulse.phase is Phase.STARTING else "data and loss"
    return f"the process ended itself with {end.how}, without an exception, {twice}: {look}"


def _when(pulse: Pulse) -> str:
    return "while the trainer was built" if pulse.phase is Phase.STARTING else "before the first step was done"


def _raised_at_a_batch(pulse: Pulse, raised: Raised | None) -> bool:
    """Whether the training of a worker raised before its first step: a checkpoint of that very step leads back to it.

    A kill says nothing there, for whoever kills workers at random does it while they start, too; nor does the death of
    a loader's process.
    """
    return raised is not None and pulse.phase is Phase.TRAINING and not dead_loader_processes(raised.said)


def _what_it_was(end: WorkerEnd, raised: Raised | None, where: str) -> str:
    how = end.how
    if end.classification is ExitClassification.OUT_OF_MEMORY:
        how = f"{how}, by the kernel for want of memory"
    last = raised.said if raised is not None else (end.reason or "").splitlines()[-1:]
    why = f"; last: {last if isinstance(last, str) else last[0]}" if last else ""
    frame = frame_at_fault(end.reason)
    at = f" at {frame.place}" if frame is not None else ""
    if end.rows:
        why = f"; {said_of_rows(end.rows)}: {mend_of_rows(end.rows, 'deadly_rows.jsonl in the run directory')}{why}"
    same = f"the worker died {ALIKE} times in a row {where} ({how}), with nothing gained in between"
    return f"{same}, so that it is not started again: mend the cause, then go on with --resume{why}{at}"
