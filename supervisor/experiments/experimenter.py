"""What an experiment is made of which update, and what it finds: the face of the experiments for the guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from supervisor.clock import Clock
from supervisor.events import EventLog
from supervisor.events.schema import DataShiftEvent, ExperimentEvent, SignalEvent
from supervisor.experiments.budget import FORWARD, PassBudget
from supervisor.experiments.canaries import Canary, RecentCanaries
from supervisor.experiments.harm import Harm, harm
from supervisor.experiments.probing import ProbeFailed, Probing
from supervisor.experiments.stretch import Stretch
from supervisor.policy import SPIKES, Experiments, RecoveryPolicy, ShiftAnswer
from supervisor.records import Blame, Cause, CauseKind, Evidence, Signal, SignalName
from supervisor.signals import Detectors
from supervisor.training.data_position import DataPosition
from supervisor.training.state import Subject, TrainingState
from supervisor.update import Attempt, Executor

__all__ = ["Experimenter", "Tools"]

FAR_SCORE, FAR_RATIO = 8.0, 10.0
"""An odd update is far off where it scores more than the one, or is more than the other times the typical value."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What experiments are made with.

    Attributes:
        subject: the training objects.
        executor: computes losses.
        data: knows which rows are left out.
        log: hears of every experiment.
        clock: for durations.
    """

    subject: Subject
    executor: Executor
    data: DataPosition
    log: EventLog
    clock: Clock


@dataclass(slots=True)
class Experimenter:
    """Suspects, tries and convicts; without `experiments` in the policy it does none of it.

    Attributes:
        policy: what is suspicious, what counts as harm, what it may cost.
        tools: what experiments are made with.
        detectors: what is usual.
        canaries: the last healthy batches.
    """

    policy: RecoveryPolicy
    tools: Tools
    detectors: Detectors
    canaries: RecentCanaries
    _settings: Experiments | None = field(init=False)
    _probing: Probing = field(init=False)
    _budget: PassBudget = field(init=False)
    _stretch: Stretch | None = field(default=None, init=False)
    _spare: TrainingState | None = field(default=None, init=False)
    # What the canaries said of the present state, until it changes.
    _known: Harm | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._settings = self.policy.experiments
        seconds = self.policy.diagnose.max_seconds
        self._probing = Probing(self.tools.subject, self.tools.executor, seconds)
        self._budget = PassBudget(0.0 if self._settings is None else self._settings.max_share_of_passes)

    @property
    def stretch(self) -> Stretch | None:
        """The stretch that is open, None where none is."""
        return self._stretch

    def suspect(self, attempt: Attempt) -> bool:
        """Look at an update in which nothing was found to be wrong. An odd one goes on trial.

        Returns:
            Whether it is to be left out at once, since odd updates have proved to be harmful.
        """
        if self._settings is None:
            return False
        found = self.detectors.suspect(attempt.seen)
        if not found or not self.policy.acted_on([_as_finding(found)]):
            return False
        if self._stretch is not None and self._stretch.skipping:
            self._stretch.leave_out(attempt.batches)
            attempt.signals = (_as_finding(found),)
            attempt.evidence = self._data(attempt, "odd, as those before it that did harm")
            return True
        if self._stretch is None and not self._begin_stretch(attempt, found):
            return False
        attempt.suspicions = found
        event = SignalEvent.from_signal(
            replace(found[0], name=SignalName.ODD_UPDATE), step=attempt.place.step, update=attempt.place.update
        )
        self.tools.log.emit(event)
        return False

    def judge_trial(self, attempt: Attempt) -> bool:
        """Judge an update that was applied on trial.

        Where it did harm, it is undone, or the whole stretch with it: the attempt then holds the signals and the
        evidence, and how many updates were accepted in between.

        Returns:
            Whether it stands.
        """
        stretch, settings = self._stretch, self._settings
        if stretch is None or settings is None or not attempt.suspicions:
            return True
        after = self._measure(attempt, "trial", stretch.canaries)
        if after is None:
            self._end_stretch()
            return True
        if after.harmed:
            self._convict_stretch(attempt, stretch, after)
            return False
        stretch.accepted.append(attempt.seen)
        if len(stretch.accepted) < settings.shift.after_updates:
            return True
        return self._shift(attempt, stretch)

    def judge_state(self, attempt: Attempt) -> bool:
        """Judge the state after an update in which the check of the state found something odd.

        Returns:
            Whether it is sound, as far as can be told.
        """
        if self._settings is None or attempt.suspicions or attempt.seen.weight_norms is None:
            return True
        found = tuple(each for each in self.detectors.suspect(attempt.seen) if each.name is SignalName.DIVERGENCE)
        if not found or not self.policy.acted_on(found):
            return True
        self._known = None
        said = self._measure(attempt, "canaries", self._usable())
        if said is None or not said.harmed:
            return True
        attempt.signals = found
        attempt.evidence = Evidence(Blame.STATE, f"batches that were healthy are not any more: {said}", finite=True)
        return False

    def convict(self, attempt: Attempt, cause: Cause | None) -> Evidence | None:
        """Find out what is at fault for an update that was discarded. None without `experiments` in the policy.

        Args:
            attempt: the update; everything is as it was before it.
            cause: what the diagnosis found.
        """
        seen = attempt.seen
        if self._settings is None or attempt.evidence is not None:
            return attempt.evidence
        if seen.bad_parameters or seen.bad_optimizer_state:
            return Evidence(Blame.STATE, "the state itself is not finite")
        finite = bool(attempt.signals) and all(signal.name in SPIKES for signal in attempt.signals)
        if not attempt.undone:
            return Evidence(Blame.UNKNOWN, "the update had reached the weights", finite=finite)
        if cause is not None and (cause.kind is CauseKind.NOT_REPRODUCIBLE or cause.deterministic is False):
            batch = None if not attempt.drawn else self.tools.data.last_number
            why = "the same step, run again, is healthy"
            return Evidence(Blame.MACHINE, why, finite=finite, repeatable=attempt.drawn, batch=batch)
        canaries = self._usable()
        try:
            said = self._measured(attempt, "canaries", canaries)
        except ProbeFailed as failed:
            raised, own = failed.raised, attempt.raised
            if raised is not None and own is not None and (raised.type, raised.where) == (own.type, own.where):
                return Evidence(Blame.CODE, f"{failed}, as this one does: the program is at fault")
            return Evidence(Blame.UNKNOWN, str(failed), finite=finite)
        if said is None:
            return Evidence(Blame.UNKNOWN, "there is no batch yet that is known to be healthy", finite=finite)
        if said.harmed:
            return Evidence(Blame.STATE, f"batches that were healthy are not any more: {said}", finite=finite)
        how = f"{len(canaries)} batches that were healthy still are ({said})"
        return replace(self._data(attempt, how), finite=finite)

    def accepted(self, attempt: Attempt) -> None:
        """An update stands. Windows and canaries take it in, but those of a stretch only once it is judged."""
        if attempt.suspicions and self._stretch is not None:
            self.detectors.accept_on_trial()
            self._known = None
            return
        if self._stretch is not None:
            self._end_stretch()
        self._known = None
        if attempt.odd:
            # There was no means to try it: it may be harmful, so that nothing is measured by it.
            self.detectors.accept_on_trial()
            return
        self.detectors.accept(attempt.seen)
        if self._settings is None:
            return
        self._budget.healthy()
        data = self.tools.data
        rows = data.recent_indices(attempt.batches) if attempt.drawn and data.leaves_out else None
        self.canaries.healthy(attempt, rows)

    def restored(self) -> None:
        """The run went back, or its weights were redrawn: what was known of the state that was left is void."""
        self._drop_stretch()
        self._known = None
        self._budget.alarmed()

    def _begin_stretch(self, attempt: Attempt, found: Sequence[Signal]) -> bool:
        canaries = self._usable()
        if not canaries or self.tools.executor.no_replay is not None or self._probing.repeats is False:
            return False
        if not self._budget.allows(FORWARD * len(canaries), far_off=any(map(_is_far_off, found))):
            attempt.odd = True
            return False
        pin = None
        if self.policy.snapshot.keep > 0:
            pin = self.tools.subject.capture(self._spare, attempt.before)
            self._spare = None
        self._stretch = Stretch(canaries, pin)
        return True

    def _end_stretch(self) -> None:
        """It harmed nothing, and is over: what it measured is usual."""
        stretch = self._stretch
        self._drop_stretch()
        if stretch is not None:
            for seen in stretch.accepted:
                self.detectors.accept(seen)

    def _drop_stretch(self) -> None:
        if self._stretch is not None and self._stretch.pin is not None:
            self._spare = self._stretch.pin
        self._stretch = None

    def _convict_stretch(self, attempt: Attempt, stretch: Stretch, after: Harm) -> None:
        self._budget.alarmed()
        finding = _as_finding(attempt.suspicions)
        if stretch.pin is None:
            attempt.signals = (replace(finding, name=SignalName.DIVERGENCE),)
            attempt.evidence = Evidence(
                Blame.STATE, f"after it, batches that were healthy are not: {after}", finite=True
            )
            return
        self.tools.subject.restore(stretch.pin)
        attempt.undone = True
        attempt.gone_back_over = len(stretch.accepted)
        self._known = None
        before = self._measure(attempt, "canaries", stretch.canaries)
        if before is not None and before.harmed:
            attempt.signals = (replace(finding, name=SignalName.DIVERGENCE),)
            why = f"batches that were healthy were not any more before it: {before}"
            attempt.evidence = Evidence(Blame.STATE, why, finite=True)
            return
        attempt.signals = (finding,)
        what = (
            "applied on trial, it harmed" if not stretch.accepted else "applied on trial, it and those before it harmed"
        )
        attempt.evidence = self._data(attempt, f"{what} batches that were healthy: {after}")
        stretch.accepted.clear()
        stretch.skipping = True
        stretch.leave_out(attempt.batches)

    def _shift(self, attempt: Attempt, stretch: Stretch) -> bool:
        """So many odd updates harmed nothing: the data have changed."""
        place, count = attempt.place, len(stretch.accepted)
        settings = self._settings
        halts = settings is not None and settings.shift.then is ShiftAnswer.HALT and stretch.pin is not None
        self.tools.log.emit(DataShiftEvent(step=place.step, update=place.update, updates=count, accepted=not halts))
        if halts and stretch.pin is not None:
            self.tools.subject.restore(stretch.pin)
            attempt.undone = True
            attempt.gone_back_over = count - 1
            attempt.signals = (_as_finding(attempt.suspicions),)
            why = f"{count} odd updates in a row harmed nothing: the data have changed"
            attempt.evidence = replace(self._data(attempt, why), shifted=True)
            self._drop_stretch()
            return False
        self._drop_stretch()
        self.detectors.begin_anew()
        self.canaries.begin_anew()
        attempt.suspicions = ()
        return True

    def _data(self, attempt: Attempt, why: str) -> Evidence:
        bad = max(1, len(attempt.at_fault)) if len(attempt.batches) > 1 else 1
        batch = self.tools.data.last_number if attempt.drawn else None
        return Evidence(Blame.DATA, why, batches=bad, repeatable=attempt.drawn, batch=batch)

    def _usable(self) -> tuple[Canary, ...]:
        if self._stretch is not None:
            return self._stretch.canaries
        return self.canaries.usable(self.tools.data.quarantined)

    def _measure(self, attempt: Attempt, kind: str, canaries: Sequence[Canary]) -> Harm | None:
        try:
            return self._measured(attempt, kind, canaries)
        except ProbeFailed:
            return None

    def _measured(self, attempt: Attempt, kind: str, canaries: Sequence[Canary]) -> Harm | None:
        """What the canaries say of the present state; None where there are none."""
        settings, levels, tools = self._settings, self.detectors.levels, self.tools
        if settings is None or levels is None or not canaries or tools.executor.no_replay is not None:
            return None
        if kind == "canaries" and self._known is not None:
            return self._known
        started, passes = tools.clock.monotonic(), self._probing.passes
        said: Harm | None = None
        why: str | None = None
        try:
            now = self._probing.losses(canaries)
            said = harm([each.loss for each in canaries], now, levels, settings)
            self._known = said if kind == "canaries" else None
            return said
        except ProbeFailed as failed:
            why = str(failed)
            raise
        finally:
            per_update = max(1, len(attempt.batches))
            self._budget.spend(FORWARD * (self._probing.passes - passes) / per_update)
            tools.log.emit(
                ExperimentEvent(
                    step=attempt.place.step,
                    update=attempt.place.update,
                    kind=kind,
                    batches=len(canaries),
                    before=None if said is None else said.before,
                    after=None if said is None else said.now,
                    verdict="unknown" if said is None else "harmed" if said.harmed else "unharmed",
                    why=why,
                    seconds=tools.clock.monotonic() - started,
                )
            )


def _is_far_off(signal: Signal) -> bool:
    details = signal.details
    score, median = details.get("score"), details.get("median")
    if not isinstance(score, float) or not isinstance(median, float):
        return True
    value = details["loss"] if "loss" in details else details.get("grad_norm")
    return score > FAR_SCORE or (isinstance(value, float) and 0 < FAR_RATIO * median < value)


def _as_finding(found: Sequence[Signal]) -> Signal:
    """What an odd update is called once it has proved to be harmful."""
    first = found[0]
    if first.name is not SignalName.ODD_UPDATE:
        return first
    return replace(first, name=SignalName.LOSS_SPIKE if "loss" in first.details else SignalName.GRADIENT_SPIKE)
