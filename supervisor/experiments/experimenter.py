"""What an experiment is made of which update, and what it finds: the face of the experiments for the guard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from supervisor.events.schema import SignalEvent
from supervisor.evidence import Blame, Evidence
from supervisor.experiments.asking import ask_fork
from supervisor.experiments.budget import FORWARD
from supervisor.experiments.canaries import Canary
from supervisor.experiments.changes import Changes
from supervisor.experiments.conviction import convict_state, convict_stretch, convict_update
from supervisor.experiments.examining import Examining
from supervisor.experiments.no_loss import NoLoss
from supervisor.experiments.stretch import Stretch
from supervisor.experiments.stretches import Stretches
from supervisor.experiments.suspicion import (
    EXTREMES,
    as_finding,
    bad_batch,
    damaged,
    high_rate,
    is_explained,
    is_explained_by,
    is_far_off,
)
from supervisor.experiments.verdict import PERSISTS, Verdict, verdict
from supervisor.policy import Experiments, RecoveryPolicy
from supervisor.records import Cause, Signal, SignalName
from supervisor.training.state import VolatileState
from supervisor.update import Attempt, LossError

__all__ = ["Experimenter"]


@dataclass(slots=True)
class Experimenter:
    """Suspects, tries and convicts; without `experiments` in the policy it does none of it.

    Attributes:
        policy: what is suspicious, and what follows from a change of the data.
        examining: tries canaries.
    """

    policy: RecoveryPolicy
    examining: Examining
    _settings: Experiments | None = field(init=False)
    _stretches: Stretches = field(init=False)
    _changes: Changes = field(init=False)
    _no_loss: NoLoss = field(init=False)

    def __post_init__(self) -> None:
        self._settings = self.policy.experiments
        self._no_loss = NoLoss(self.examining)
        self._stretches = Stretches(self.examining.tools.subject, self.examining.detectors)
        self._changes = Changes(self.examining, self._stretches)

    @property
    def stretch(self) -> Stretch | None:
        """The stretch that is open, None where none is."""
        return self._stretches.open

    def suspect(self, attempt: Attempt) -> bool:
        """Look at an update in which nothing was found to be wrong. An odd one goes on trial.

        Returns:
            Whether it is to be left out at once, since odd updates have proved to be harmful.
        """
        if self._settings is None:
            return False
        found = self.examining.detectors.suspect(attempt.seen)
        if not found or not self.policy.acted_on([as_finding(found)]):
            return False
        stretch = self.stretch
        if stretch is not None and stretch.skipping and len(found) == 1 and high_rate(found) is not None:
            # Nothing is odd about the batch: the rate is to be tried by itself.
            self._stretches.drop()
            stretch = None
        begun = stretch is not None and (stretch.skipping or len(stretch.accepted) > 0)
        if stretch is not None and begun and convict_state(self.examining, attempt, stretch.canaries, found):
            return True
        after = self._settings.shift.after_updates
        if stretch is not None and stretch.skipping and self._is_to_be_tried(attempt, stretch, found):
            self._stretches.begin_again(self._pinned(attempt))
            stretch = self.stretch
        if stretch is not None and stretch.skipping:
            if not self._leave_out(attempt, stretch, "odd, as those before it that did harm", after):
                attempt.evidence = None
                return False
            attempt.signals = (as_finding(found),)
            return True
        if stretch is None and not self._begin_stretch(attempt, found):
            return False
        attempt.suspicions = found
        if self.stretch is not None:
            self.stretch.extreme |= attempt.extreme
        odd = replace(found[0], name=SignalName.ODD_UPDATE)
        self._log(SignalEvent.from_signal(odd, step=attempt.place.step, update=attempt.place.update))
        return False

    def tries(self, attempt: Attempt) -> bool:
        """Whether an extreme update can be judged by a trial: its loss alone is, or a gradient that its loss explains.

        A gradient that is far larger than its loss has reason to be is not tried: canaries do not show what it does to
        the moments of an optimizer.
        """
        acted = self.policy.acted_on(attempt.signals)
        if self._settings is None or not EXTREMES.issuperset(each.name for each in acted):
            return False
        if self.policy.snapshot.keep == 0 or not self.examining.possible or not self._canaries():
            return False
        gradient = any(each.name is SignalName.GRADIENT_SPIKE for each in acted)
        if gradient and not is_explained(attempt.seen, self.examining.detectors):
            return False
        attempt.extreme = True
        self.without_extremes(attempt)
        return True

    def without_extremes(self, attempt: Attempt) -> None:
        """Leave out of its signals what a trial judges."""
        if attempt.extreme:
            attempt.signals = tuple(each for each in attempt.signals if each.name not in EXTREMES)

    def judge_trial(self, attempt: Attempt) -> bool:
        """Judge an update that was applied on trial.

        Where it did harm, it is undone, or the whole stretch with it: the attempt then holds the signals and the
        evidence, and how many updates were accepted in between.

        Returns:
            Whether it stands.
        """
        stretch, settings = self.stretch, self._settings
        if stretch is None or settings is None or not attempt.suspicions:
            return True
        self.examining.state_changed()
        stretch.norm = max(stretch.norm, self.examining.tools.executor.gradient_norm())
        after = self.examining.after_trial(attempt, stretch.canaries)
        if after is None:
            self._stretches.end()
            return True
        stretch.harmed += after.harmed
        certain = after.severe or stretch.harmed >= PERSISTS or high_rate(attempt.suspicions) is not None
        if after.harmed and certain:
            undone = convict_stretch(self.examining, attempt, stretch, after)
            if not (undone and stretch.skipping):
                self._stretches.drop()
            return not undone
        stretch.accept(attempt.seen, attempt.batches)
        if len(stretch.accepted) < settings.shift.after_updates:
            return True
        return self._changes.long_stretch(attempt, stretch, after)

    def judge_state(self, attempt: Attempt) -> bool:
        """Judge the state after an update in which the check of the state found something odd.

        Returns:
            Whether it is sound, as far as can be told.
        """
        if self._settings is None or attempt.suspicions or attempt.seen.weight_norms is None:
            return True
        found = self.examining.detectors.suspect(attempt.seen)
        found = tuple(each for each in found if each.name is SignalName.DIVERGENCE)
        if not found or not self.policy.acted_on(found):
            return True
        said = self.examining.after_trial(attempt, self._canaries())
        if said is None or verdict(self.examining, attempt, said, self._canaries()) is not Verdict.LOST:
            return True
        attempt.signals, attempt.evidence = found, damaged(said, "", finite=True)
        return False

    def convict(self, attempt: Attempt, cause: Cause | None) -> Evidence | None:
        """Find out what is at fault for a discarded update; None without `experiments`, unless its loss was none.

        Args:
            attempt: the update; everything is as it was before it.
            cause: what the diagnosis found.
        """
        canaries = self._canaries()
        if isinstance(attempt.error, LossError):
            return self._no_loss.convict(attempt, canaries)
        if self._settings is None:
            return None
        evidence = attempt.evidence = attempt.evidence or convict_update(self.examining, attempt, cause, canaries)
        if evidence.blame is not Blame.DATA or not evidence.finite or evidence.shifted:
            return evidence
        # Where such come for too long, they may yet be what is to be learnt.
        left_out = self._stretches.so_far(canaries)
        self._leave_out(attempt, left_out, evidence.why, self._settings.bad_data.in_a_row)
        return attempt.evidence

    def accepted(self, attempt: Attempt) -> None:
        """An update stands. Windows and canaries take it in, but those of a stretch only once it is judged."""
        examining = self.examining
        examining.state_changed()
        examining.just_went_back = False
        if attempt.odd or (attempt.suspicions and self.stretch is not None):
            # One that could not be tried may be harmful: nothing is measured by it.
            examining.detectors.accept_on_trial(attempt.seen)
            return
        self._stretches.end()
        examining.detectors.accept(attempt.seen)
        if self._settings is None:
            return
        self._stretches.healthy(self._settings.bad_data.window_updates)
        examining.budget.healthy()
        examining.slightly_harmed = 0
        data = examining.tools.data
        rows = data.recent_indices(attempt.batches) if attempt.drawn and data.leaves_out else None
        examining.canaries.healthy(attempt, rows)

    def restored(self) -> None:
        """The run went back, or its weights were redrawn: what was known of the state that was left is void."""
        self._stretches.drop_all()
        self.examining.state_changed()
        self.examining.just_went_back = True
        self.examining.budget.alarmed()
        self.examining.slightly_harmed = 0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it, so that a resumed run suspects and tries as the unbroken one would."""
        return {"examining": self.examining.state_dict(), "stretches": self._stretches.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave; the canaries are back already."""
        self.examining.load_state_dict(state["examining"])
        self._stretches.load_state_dict(state["stretches"], self.examining.canaries.remember())

    def _leave_out(self, attempt: Attempt, stretch: Stretch, why: str, after: int) -> bool:
        """Leave an odd update out. Gives False where it was found that such can be learnt, as is asked `after` some."""
        stretch.leave_out(attempt.batches)
        attempt.evidence = attempt.evidence or self._data(attempt, why)
        if stretch.is_to_be_asked(after):
            learnt = ask_fork(self.examining, attempt, stretch, None, stretch.skipped)
            if learnt is not None and learnt.learnt:
                if self.examining.tell_shift(attempt, stretch.left_out):
                    self._changes.begin_anew()
                    return False
                attempt.evidence = replace(attempt.evidence, why=f"they can be learnt: {learnt}", shifted=True)
        return True

    def _is_to_be_tried(self, attempt: Attempt, stretch: Stretch, found: Sequence[Signal]) -> bool:
        """Whether a batch may be odd because of the state, and not as those before it that did harm.

        That is where its loss is no higher than those of canaries have become. It is tried by itself then, unless it is
        the one with which it is asked whether such can be learnt.
        """
        known, settings = self.examining.known, self._settings
        if known is None or settings is None or stretch.asks_next(settings.shift.after_updates):
            return False
        explained = is_explained_by(known, attempt.seen, self.examining.detectors)
        return explained and self._affords(stretch.canaries, found)

    def _affords(self, canaries: Sequence[Canary], found: Sequence[Signal]) -> bool:
        return self.examining.budget.allows(FORWARD * len(canaries), far_off=any(map(is_far_off, found)))

    def _pinned(self, attempt: Attempt) -> VolatileState | None:
        return attempt.before if self.policy.snapshot.keep > 0 else None

    def _begin_stretch(self, attempt: Attempt, found: Sequence[Signal]) -> bool:
        canaries = self.examining.usable()
        if not canaries or not self.examining.possible:
            return False
        affordable = self._affords(canaries, found)
        # One that is extreme would have been discarded: it is never applied untried.
        if not affordable and not attempt.extreme:
            if high_rate(found) is not None:
                self.examining.detectors.rate.refuse()
            attempt.odd = True
            return False
        self._stretches.begin(canaries, self._pinned(attempt))
        return True

    def _data(self, attempt: Attempt, why: str) -> Evidence:
        return replace(bad_batch(attempt, self.examining.tools.data, why), finite=True)

    def _canaries(self) -> tuple[Canary, ...]:
        return self.examining.usable() if self.stretch is None else self.stretch.canaries

    def _log(self, event: SignalEvent) -> None:
        self.examining.tools.log.emit(event)
