"""Which finding belongs to which injected fault, and what each fault cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from supervisor.events import schema
from supervisor.faults import Fault, FaultRecord
from supervisor.rehearsal.history import RESTART, AnEvent, Flagged, Happened, History, Moment

__all__ = ["Strike", "attribute"]


@dataclass
class Strike:
    """One strike of one fault, and what became of it.

    Attributes:
        record: where it was injected.
        fault: its entry in the script.
        at: when it struck: in which life of the worker, and after how many seconds of the run.
        found: what detected it, None where nothing did.
        found_at: when, in seconds of the run.
        delay_steps: attempted updates between the strike and its detection; None where it is not found in a step.
        flagged: the flagged updates that it is to blame for, the one that detected it first.
        cured_by: what ended its effect: the action that cured its incident, `restart`, or what else did.
        steps_lost: steps that were flagged, gone back over, or lost with a process.
        seconds_beside: wall time it took beside those steps.
    """

    record: FaultRecord
    fault: Fault
    at: Moment
    found: str | None = None
    found_at: float | None = None
    delay_steps: int | None = None
    flagged: list[Flagged] = field(default_factory=list)
    cured_by: str | None = None
    steps_lost: int = 0
    seconds_beside: float = 0.0

    @property
    def cause(self) -> str | None:
        """What the diagnosis of its first flagged update found."""
        return self.flagged[0].cause if self.flagged else None

    @property
    def expected(self) -> set[str]:
        """The findings that count as its detection."""
        return set(self.fault.expected_signals)


def attribute(
    faults: Sequence[Fault], records: Sequence[FaultRecord], history: History
) -> tuple[list[Strike], list[Flagged]]:
    """Tell which finding belongs to which strike.

    A finding in a step belongs to the fault that struck at that very update, or else, where the fault lasts, to the
    first update after it in the same life of the worker that shows what it was expected to show. The other flagged
    updates of its incident are its consequences.

    Args:
        faults: the script.
        records: what was injected.
        history: what happened.

    Returns:
        The strikes, in order; and the flagged updates that belong to none of them.
    """
    strikes = [Strike(record, faults[record.fault], history.moment_of(record)) for record in records]
    decided = [flagged for flagged in history.flagged if flagged.incident is not None]
    blamed: dict[int, list[Strike]] = {}
    for strike in strikes:
        for flagged in decided:
            same = (flagged.life, flagged.update) == (strike.at.life, strike.record.update)
            if same and flagged.signals & strike.expected:
                _blame(strike, flagged, blamed)
    for strike in strikes:
        if strike.fault.lasting and strike.found is None:
            later = (each for each in decided if _shows_later(each, strike, blamed.get(id(each), [])))
            found = next(later, None)
            if found is not None:
                _blame(strike, found, blamed)
    unexplained = [flagged for flagged in decided if id(flagged) not in blamed]
    for flagged in list(unexplained):
        sharing = [s for s in strikes if any(each.incident is flagged.incident for each in s.flagged)]
        before = [strike for strike in sharing if _place(strike) <= (flagged.life, flagged.update)]
        if before:
            before[-1].flagged.append(flagged)
            unexplained.remove(flagged)
    _count_steps(strikes)
    for strike in strikes:
        if strike.found is None:
            _look_outside_the_step(strike, history)
    _share_with_damaged_checkpoints(strikes, history)
    return strikes, unexplained


def _place(strike: Strike) -> tuple[int, int]:
    """The update that it struck at: within a life updates only grow."""
    return strike.at.life, strike.record.update or 0


def _blame(strike: Strike, flagged: Flagged, blamed: dict[int, list[Strike]]) -> None:
    blamed.setdefault(id(flagged), []).append(strike)
    strike.flagged.append(flagged)
    # As the fault's own model names them, most telling first.
    strike.found = next(name for name in strike.fault.expected_signals if name in flagged.signals)
    strike.found_at = flagged.at
    strike.delay_steps = flagged.update - (strike.record.update or 0)
    strike.cured_by = flagged.incident.cured_by if flagged.incident is not None else None


def _shows_later(flagged: Flagged, strike: Strike, blamed: Sequence[Strike]) -> bool:
    if flagged.life != strike.at.life or strike.record.update is None or flagged.update < strike.record.update:
        return False
    explained = set().union(*(other.expected for other in blamed)) if blamed else set()
    return bool(flagged.signals & strike.expected - explained)


def _count_steps(strikes: Sequence[Strike]) -> None:
    """What flagged updates cost, each counted for one strike only."""
    counted: set[int] = set()
    for strike in strikes:
        for flagged in strike.flagged:
            if id(flagged) not in counted:
                counted.add(id(flagged))
                strike.steps_lost += flagged.steps_lost
                strike.seconds_beside += flagged.seconds_answering


def _look_outside_the_step(strike: Strike, history: History) -> None:
    """Faults of the process and of the disk show in what happens to the worker and to its files."""
    struck, kind = strike.record, strike.fault.kind

    def first(events: Iterable[Happened[AnEvent]], fits: Callable[[AnEvent], bool]) -> Happened[AnEvent] | None:
        return next((each for each in events if each.at >= strike.at and fits(each.event)), None)

    def warning_of(beginning: str, fits: Callable[[schema.WarningEvent], bool]) -> Happened[schema.WarningEvent] | None:
        found = first(history.warnings, lambda event: event.message.startswith(beginning) and fits(event))
        return found if found is not None and found.at.life == strike.at.life else None

    match kind:
        case "hang" | "kill_worker":
            event = schema.WorkerStalledEvent if kind == "hang" else schema.WorkerExitedEvent
            _died(strike, first(history.processes, lambda each: isinstance(each, event)), history)
        case "corrupt_checkpoint":
            rejected = [each for each in history.rejected if not each.event.reason.startswith("abandoned")]
            if found := first(rejected, lambda event: event.path == struck.target):
                _found(strike, found.at)
                strike.cured_by = "older checkpoint"
        case "disk_full":
            if warning := warning_of("checkpoint", lambda _: True):
                _found(strike, warning.at)
                saved = any(each.at > warning.at for each in history.saved)
                strike.cured_by = "next write" if saved else None
        case "slow_step":
            if warning := warning_of("slow step", lambda event: event.update == struck.update):
                _found(strike, warning.at)
                strike.delay_steps = 0
                strike.cured_by = "waiting"
                strike.seconds_beside = warning.at.seconds - strike.at.seconds


def _found(strike: Strike, at: Moment) -> None:
    strike.found = strike.fault.expected_signals[0]
    strike.found_at = at.seconds


def _died(
    strike: Strike, death: Happened[schema.WorkerExitedEvent | schema.WorkerStalledEvent] | None, history: History
) -> None:
    resumed = history.resumed_after(strike.at.life)
    if death is None or (resumed is not None and resumed.at < death.at):
        return
    _found(strike, death.at)
    if resumed is not None:
        strike.cured_by = RESTART
        strike.steps_lost = max(0, (strike.record.step or 0) - _went_on_from(resumed.event))
        strike.seconds_beside = resumed.at.seconds - strike.at.seconds


def _went_on_from(resumed: schema.RunStartedEvent | schema.RunResumedEvent) -> int:
    return resumed.checkpoint_step if isinstance(resumed, schema.RunResumedEvent) else 0


def _share_with_damaged_checkpoints(strikes: Sequence[Strike], history: History) -> None:
    """Move what a restart lost only because newer checkpoints were damaged from the death to the damage."""
    for death in [strike for strike in strikes if strike.cured_by == RESTART and not strike.flagged]:
        resumed = history.resumed_after(death.at.life)
        if resumed is None:
            continue
        until = _went_on_from(resumed.event)
        for damage in strikes:
            found_at = damage.found_at
            between = found_at is not None and death.at.seconds <= found_at <= resumed.at.seconds
            if damage.fault.kind == "corrupt_checkpoint" and between:
                damaged = next(each.event for each in history.rejected if each.at.seconds == found_at)
                lost = max(0, damaged.checkpoint_step - until)
                damage.steps_lost, death.steps_lost = lost, max(0, death.steps_lost - lost)
