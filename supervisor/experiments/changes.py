"""What follows where the data seem to have changed: odd updates in a row that harmed nothing, or that can be learnt."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from supervisor.experiments.asking import ask_fork
from supervisor.experiments.control import would_harm_too
from supervisor.experiments.examining import Examining
from supervisor.experiments.harm import Harm
from supervisor.experiments.no_trace import updates_undone
from supervisor.experiments.probing import ProbeFailed
from supervisor.experiments.stretch import Stretch
from supervisor.experiments.stretches import Stretches
from supervisor.experiments.suspicion import as_finding, bad_batch, is_explained_by
from supervisor.update import Attempt

__all__ = ["Changes"]


@dataclass(frozen=True, slots=True)
class Changes:
    """Ends what has become too long for a passing oddity.

    Attributes:
        examining: what is usual, and the log.
        stretches: the one on trial, and what was left out.
    """

    examining: Examining
    stretches: Stretches

    def long_stretch(self, attempt: Attempt, stretch: Stretch, after: Harm) -> bool:
        """So many odd updates harmed nothing: the data have changed, or the state a little, and they are as before.

        Args:
            attempt: the last one of them, applied.
            stretch: all of them.
            after: what canaries say of the state that they led to.

        Returns:
            Whether they stand.
        """
        if stretch.extreme and not self._is_learnable(attempt, stretch):
            return False
        if self._is_the_state(attempt, stretch, after):
            what = f"{len(stretch.accepted)} odd updates in a row, and it is not that the data have changed"
            why = f"{what}: batches from before are as bad by now ({after})"
            self.examining.tools.log.warn(why, attempt.place.step, attempt.place.update)
            self.begin_anew()
            attempt.suspicions = ()
            return True
        count = len(stretch.accepted)
        if self.examining.tell_shift(attempt, count, can_halt=stretch.pin is not None):
            self.begin_anew()
            attempt.suspicions = ()
            return True
        self._undo(attempt, stretch, f"{count} odd updates in a row harmed nothing: the data have changed")
        if attempt.evidence is not None:
            attempt.evidence = replace(attempt.evidence, shifted=True)
        self.stretches.drop()
        return False

    def begin_anew(self) -> None:
        """Windows and canaries say nothing of what comes."""
        self.stretches.drop_all()
        self.examining.begin_anew()

    def _is_learnable(self, attempt: Attempt, stretch: Stretch) -> bool:
        """Whether a fork learns what did no harm so far and is far from what is known. Otherwise it is undone."""
        if stretch.pin is None:
            return True
        learnt = ask_fork(self.examining, attempt, stretch, stretch.pin, stretch.tried)
        if learnt is None or learnt.learnt:
            return True
        self._undo(attempt, stretch, f"far from what is known, and not learnt: {learnt}")
        stretch.prove_harmful()
        return False

    def _is_the_state(self, attempt: Attempt, stretch: Stretch, after: Harm) -> bool:
        """Whether known batches are as bad as those of a stretch by now, and not by what these have done."""
        examining, subject = self.examining, self.examining.tools.subject
        if stretch.pin is None or not is_explained_by(after, attempt.seen, examining.detectors):
            return False
        try:
            with updates_undone(subject):
                subject.restore(stretch.pin)
                examining.state_changed()
                before = examining.before_update(attempt, stretch.canaries)
                if before is None:
                    return False
                if is_explained_by(before, attempt.seen, examining.detectors):
                    return True
                return would_harm_too(examining, attempt, stretch, before, after, len(stretch.accepted))
        except (ProbeFailed, MemoryError, torch.OutOfMemoryError):
            return False
        finally:
            examining.state_changed()

    def _undo(self, attempt: Attempt, stretch: Stretch, why: str) -> None:
        stretch.undo(attempt, self.examining.tools.subject, len(stretch.accepted) - 1)
        attempt.signals = (as_finding(attempt.suspicions),)
        attempt.evidence = replace(bad_batch(attempt, self.examining.tools.data, why), finite=True)
