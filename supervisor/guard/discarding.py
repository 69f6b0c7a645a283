"""What happens to a flagged update: it is undone, looked into and answered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from supervisor.diagnosis import Diagnosis
from supervisor.evidence import Blame
from supervisor.experiments import Experimenter
from supervisor.guard.blaming import by_evidence
from supervisor.guard.continuation import Continuation
from supervisor.guard.diagnosing import Diagnostician
from supervisor.guard.first_batches import FirstBatches
from supervisor.guard.micro_batches import MicroBatchJudge
from supervisor.guard.outcome import Verdict
from supervisor.guard.recovery import Recovery
from supervisor.guard.setup import SetupCheck
from supervisor.policy import SETUP_SIGNALS, RecoveryPolicy
from supervisor.records import ActionName, Cause
from supervisor.signals import Detectors
from supervisor.states import GoodStates
from supervisor.training.samples import without_samples
from supervisor.update import Attempt, Executor

__all__ = ["Discarding", "Undoing"]


@dataclass(frozen=True, slots=True)
class Undoing:
    """Undoes an update, and finds out what was wrong before it and within it.

    Attributes:
        executor: undoes it.
        states: what a recovery depends on is to be on disk first.
        detectors: say what is wrong.
        judge: tells the batches of an accumulated update apart.
        first: tells a mistake in the program from a bad batch, before any update was applied.
    """

    executor: Executor
    states: GoodStates
    detectors: Detectors
    judge: MicroBatchJudge
    first: FirstBatches = field(default_factory=FirstBatches)

    def undo(self, attempt: Attempt) -> bool:
        """Put everything back, then look again.

        Returns:
            Whether the update is excused: a gradient scaler is still looking for its scale.
        """
        setup = tuple(signal for signal in attempt.signals if signal.name in SETUP_SIGNALS)
        reusable = attempt.reusable
        self.executor.undo(attempt)
        self.states.flush()
        if attempt.undone:
            # After the undoing: what the batch spoilt is put back by now, so that only earlier damage is found.
            self.executor.check_state(attempt)
        if attempt.evidence is not None and not attempt.seen.bad_parameters and not attempt.seen.bad_optimizer_state:
            # Every number is finite: what was found was found by an experiment.
            return False
        attempt.signals = self.detectors.inspect(attempt.seen)
        if setup and not attempt.signals:
            attempt.signals, attempt.reusable = setup, reusable
            return False
        if attempt.undone and self.detectors.is_calibration(attempt.seen, attempt.signals):
            return True
        if attempt.undone:
            self.judge.judge(attempt)
        return False


@dataclass(frozen=True, slots=True)
class Discarding:
    """Discards flagged updates.

    Attributes:
        policy: says which findings are merely observed.
        undoing: undoes the update.
        diagnostician: finds the cause.
        experimenter: finds out what is at fault.
        recovery: answers it.
        continuation: lets the run go on, or end.
        setup: finds out whether the start of the run is wrong.
    """

    policy: RecoveryPolicy
    undoing: Undoing
    diagnostician: Diagnostician
    experimenter: Experimenter
    recovery: Recovery
    continuation: Continuation
    setup: SetupCheck | None = None

    def discard(self, attempt: Attempt) -> Verdict:
        """Discard an update that was flagged, and answer it.

        An exception that the program is at fault for, before any update was applied, is raised again.
        """
        try:
            return self._discard(attempt)
        finally:
            # It holds the frames that it came through, and they hold the attempt.
            attempt.error = None

    def _discard(self, attempt: Attempt) -> Verdict:
        first = self.undoing.first
        excused = self.undoing.undo(attempt)
        # What the program is at fault for is no incident, and no signal.
        perhaps_the_program = attempt.error is not None and first.asks
        if not perhaps_the_program:
            self.continuation.noted(attempt)
        if excused:
            return Verdict(apply=False, outcome=self.continuation.excuse(attempt))
        if attempt.error is not None and first.wrong_loss(attempt):
            self.continuation.break_off(attempt)
            raise attempt.error
        # Before the detectors take note of the update, so that a replay is judged as the update was.
        only_setup = all(signal.name in SETUP_SIGNALS for signal in attempt.signals)
        diagnosis = None if only_setup else self.diagnostician.diagnose(attempt)
        cause = None if diagnosis is None else diagnosis.cause
        if attempt.error is not None and first.convict(attempt, cause):
            self.continuation.break_off(attempt)
            raise attempt.error
        if perhaps_the_program:
            self.continuation.noted(attempt)
        if not only_setup:
            attempt.evidence = self.experimenter.convict(attempt, cause)
            diagnosis = by_evidence(diagnosis, attempt)
            self._mend(attempt, cause)
        return self.answered(attempt, diagnosis)

    def answered(self, attempt: Attempt, diagnosis: Diagnosis | None) -> Verdict:
        """Answer an update that was undone and looked into."""
        self.continuation.flag(attempt)
        recovered = self.recovery.answer(attempt, self.policy.acted_on(attempt.signals), diagnosis, self.diagnostician)
        if recovered.decision.action is not ActionName.HALT:
            lost = not attempt.drawn and recovered.effect.restored is None
            again = tuple(attempt.batches[position] for position in attempt.reusable) if lost else ()
            return Verdict(apply=False, outcome=self.continuation.go_on(attempt, recovered), again=again)
        outcome = self.continuation.halt(attempt, recovered)
        reason = self.continuation.halt_reason
        return Verdict(apply=False, outcome=outcome, halt=True, reason=reason, cause=attempt.error)

    def _mend(self, attempt: Attempt, cause: Cause | None) -> None:
        """Where the rows at fault are known and left out from now on, the rest of their batch comes again."""
        evidence = attempt.evidence
        if evidence is None or evidence.blame is not Blame.DATA or cause is None or not attempt.drawn:
            return
        if not cause.dataset_indices or not self.recovery.quarantine.takes:
            return
        attempt.mended = without_samples(attempt.batches, cause.samples)
        attempt.evidence = replace(evidence, batches=0)
