"""A look at the canaries: which are tried, what they say, what it costs, and the line of the log about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from supervisor.clock import Clock
from supervisor.events import EventLog
from supervisor.events.schema import DataShiftEvent, ExperimentEvent
from supervisor.experiments.budget import FORWARD, PassBudget
from supervisor.experiments.canaries import Canary, RecentCanaries
from supervisor.experiments.harm import Harm, harm
from supervisor.experiments.probing import ProbeFailed, Probing
from supervisor.policy import RecoveryPolicy, ShiftAnswer
from supervisor.signals import Detectors
from supervisor.training.data_position import DataPosition
from supervisor.training.state import Subject
from supervisor.update import Attempt, Executor

__all__ = ["BEFORE", "Examining", "Tools", "never"]

RELY = 3
"""For how many batches in a row one look at the canaries serves."""

NO_EXPERIMENTS = (
    "no experiment is made in this run, and what is finite is flagged only where it is extreme; register what the loss"
    " depends on as a buffer or as `extra_state`"
)
"""What follows where a loss does not repeat."""

BEFORE, AFTER = "canaries", "trial"
"""Whether the canaries are tried on the state before an update, or after it was applied on trial."""


def never() -> bool:
    """No stop is requested."""
    return False


@dataclass(frozen=True, slots=True)
class Tools:
    """What experiments are made with.

    Attributes:
        subject: the training objects.
        executor: computes losses.
        data: knows which rows are left out.
        log: hears of every experiment.
        clock: for durations.
        stopping: whether the run is to stop, so that long experiments are abandoned.
    """

    subject: Subject
    executor: Executor
    data: DataPosition
    log: EventLog
    clock: Clock
    stopping: Callable[[], bool] = never


@dataclass(slots=True)
class Examining:
    """Tries canaries on the present state.

    Attributes:
        policy: what counts as harm.
        tools: what experiments are made with.
        detectors: what is usual.
        canaries: the last healthy batches.
        budget: what trials may cost.
        slightly_harmed: odd updates in a row before which canaries were harmed.
        lost_at: the step at which the state was last found to be lost.
        moves: whether what is trained for is known to change by itself, as by the copy of a target network.
        bad_gradients_at: the update whose gradients were last found to be bad for any batch.
        just_went_back: whether the run went back, and no update stands since.
    """

    policy: RecoveryPolicy
    tools: Tools
    detectors: Detectors
    canaries: RecentCanaries
    budget: PassBudget
    slightly_harmed: int = field(default=0, init=False)
    lost_at: int | None = field(default=None, init=False)
    moves: bool = field(default=False, init=False)
    bad_gradients_at: int | None = field(default=None, init=False)
    just_went_back: bool = field(default=False, init=False)
    _probing: Probing = field(init=False)
    # What the canaries said of the present state, until it changes, and how often that was relied on.
    _known: Harm | None = field(default=None, init=False)
    _relied: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._probing = Probing(self.tools.subject, self.tools.executor, self.policy.diagnose.max_seconds)

    @property
    def possible(self) -> bool:
        """Whether canaries can be tried at all."""
        return self.tools.executor.no_replay is None and self._probing.repeats is not False

    @property
    def known(self) -> Harm | None:
        """What the canaries said last of the present state; None where they were not asked."""
        return self._known

    def usable(self) -> tuple[Canary, ...]:
        """The canaries that may be tried now."""
        return self.canaries.usable(self.tools.data.quarantined)

    def state_changed(self) -> None:
        """What is known of the state before an update holds no longer."""
        self._known = None

    def after_trial(self, attempt: Attempt, canaries: Sequence[Canary]) -> Harm | None:
        """What canaries say of the state after an update on trial; None where nothing can be said."""
        try:
            return self._look(attempt, AFTER, canaries)
        except ProbeFailed:
            return None

    def before_update(self, attempt: Attempt, canaries: Sequence[Canary]) -> Harm | None:
        """What they say of the present state; None where there are none.

        They are not tried anew for each of several batches in a row that are left out, and yet now and then: what
        changes the state may lie outside of the training.

        Raises:
            ProbeFailed: they could not be tried.
        """
        self._relied += 1
        if self._known is None or self._relied > RELY or self._known.canaries < len(canaries):
            self._known, self._relied = self._look(attempt, BEFORE, canaries), 1
        return self._known

    def unless_newest_is_unharmed(self, attempt: Attempt, canaries: Sequence[Canary]) -> Harm | None:
        """As `before_update`, of an update that is not finite: most often the newest canary alone tells.

        A finite state that makes a loss infinite spares few batches, and the newest was healthy one update ago.

        Raises:
            ProbeFailed: they could not be tried.
        """
        newest = self.before_update(attempt, canaries[-1:])
        return self.before_update(attempt, canaries) if newest is not None and newest.harmed else newest

    def is_flagged_backward(self, attempt: Attempt, canary: Canary) -> bool | None:
        """Whether a canary would be flagged on the present state, its gradients included; None where that fails."""
        started = self.tools.clock.monotonic()
        try:
            seen = self._probing.backward(canary, attempt.place)
        except ProbeFailed:
            return None
        self.budget.spend(1.0)
        if seen.exception is not None:
            return None
        flagged = len(self.policy.acted_on(self.detectors.inspect(seen))) > 0
        found, why = "harmed" if flagged else "unharmed", "run backward, too: its gradients count"
        self.tell(attempt, BEFORE, 1, started, found, before=canary.loss, after=seen.loss, why=why)
        return flagged

    def begin_anew(self) -> None:
        """Windows and canaries say nothing of what comes."""
        self.detectors.begin_anew()
        self.canaries.begin_anew()

    def tell_shift(self, attempt: Attempt, updates: int, *, can_halt: bool = True) -> bool:
        """Put on record that the data have changed, as so many updates told.

        Returns:
            Whether the training goes on with them: always where it cannot be halted.
        """
        settings = self.policy.experiments
        halts = can_halt and settings is not None and settings.shift.then is ShiftAnswer.HALT
        place = attempt.place
        event = DataShiftEvent(step=place.step, update=place.update, updates=updates, accepted=not halts)
        self.tools.log.emit(event)
        return not halts

    def tell(self, attempt: Attempt, kind: str, batches: int, started: float, verdict: str, **numbers: Any) -> None:
        """Put an experiment on record.

        Args:
            attempt: of which update it was made.
            kind: what it was.
            batches: how many it was made with.
            started: when it began, by the clock.
            verdict: what it found.
            numbers: `before`, `after` and `why` of the event.
        """
        place, seconds = attempt.place, self.tools.clock.monotonic() - started
        event = ExperimentEvent(
            step=place.step,
            update=place.update,
            kind=kind,
            batches=batches,
            verdict=verdict,
            seconds=seconds,
            **numbers,
        )
        self.tools.log.emit(event)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {
            "budget": asdict(self.budget),
            "slightly_harmed": self.slightly_harmed,
            "lost_at": self.lost_at,
            "moves": self.moves,
            "just_went_back": self.just_went_back,
            "bad_gradients_at": self.bad_gradients_at,
            "known": None if self._known is None else asdict(self._known),
            "relied": self._relied,
            "repeats": self._probing.repeats,
            "graph": self._probing.graph,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave; the share of the passes is the policy's own."""
        self.budget = PassBudget(**{**state["budget"], "share": self.budget.share})
        self.slightly_harmed, self._relied = state["slightly_harmed"], state["relied"]
        self.lost_at, self.moves = state["lost_at"], state["moves"]
        self.just_went_back = state.get("just_went_back", False)
        self.bad_gradients_at = state.get("bad_gradients_at")
        self._known = None if state["known"] is None else Harm(**state["known"])
        self._probing.repeats, self._probing.graph = state["repeats"], state["graph"]

    def _look(self, attempt: Attempt, kind: str, canaries: Sequence[Canary]) -> Harm | None:
        settings, levels, tools = self.policy.experiments, self.detectors.levels, self.tools
        if settings is None or levels is None or not canaries or tools.executor.no_replay is not None:
            return None
        started, passes, repeated = tools.clock.monotonic(), self._probing.passes, self._probing.repeats
        said: Harm | None = None
        why: str | None = None
        try:
            now = self._probing.losses(canaries)
            said = harm([each.loss for each in canaries], now, levels, settings)
            return said
        except ProbeFailed as failed:
            why = str(failed)
            if repeated is None and self._probing.repeats is False:
                place = attempt.place
                tools.log.warn(f"{why}: {NO_EXPERIMENTS}", place.step, place.update)
            raise
        finally:
            self.budget.spend(FORWARD * (self._probing.passes - passes) / max(1, len(attempt.batches)))
            found = "unknown" if said is None else "harmed" if said.harmed else "unharmed"
            before, after = (None, None) if said is None else (said.before, said.now)
            self.tell(attempt, kind, len(canaries), started, found, before=before, after=after, why=why)
