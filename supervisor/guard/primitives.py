"""The primitives of a guard: what a loop calls that runs its model and its optimizer itself."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

from supervisor.errors import InputError, PolicyHalt
from supervisor.events.schema import RunStatus, RunSummary
from supervisor.guard.arguments import refuse
from supervisor.guard.assembly import Parts
from supervisor.guard.interrupts import Interrupts, held_back
from supervisor.guard.outcome import Verdict
from supervisor.guard.ranks import many_ranks
from supervisor.training.loader_errors import is_dead_loader
from supervisor.update import Attempt, Phase

__all__ = ["Primitives"]


class Primitives:
    """Takes one update after the other through the parts, and refuses calls in a wrong order.

    Args:
        parts: the parts of the guard.
        accumulate: batches an update.
        about: further fields of `run_started`.
        resumed: the run goes on, so that its start is on record already.

    Attributes:
        parts: the parts of the guard.
        interrupts: holds Ctrl-C back amid the guard's own work, in a `with` block.
    """

    def __init__(self, parts: Parts, accumulate: int, about: Mapping[str, Any], *, resumed: bool) -> None:
        self.parts = parts
        self._accumulate = accumulate
        self._about = about
        self._announced = resumed
        self._at_work = False
        self._unused = False
        self._attempt: Attempt | None = None
        self._halted_by: Exception | None = None
        self.interrupts = Interrupts()
        self._status: RunStatus | None = RunStatus.HALTED if parts.ledger.halted else None

    @held_back
    def begin(self, steps: int) -> None:
        """Begin a run that ends at `steps`: its start is put on record and its initial state is taken, once.

        `run` and `batches` call it. A resumed run was put back to its checkpoint when the guard was built. A batch
        given by `batches` and not used comes again.

        Raises:
            InputError: `steps` is not a positive number, or the initial state is not finite.
        """
        if not isinstance(steps, int) or steps < 1:
            raise InputError(f"steps: {steps}: write a whole number, 1 or more")
        if self._attempt is not None and self._attempt.phase is not Phase.ENDED:
            raise InputError("begin: an update was begun and not ended: end it, or abandon it")
        if self._status is RunStatus.FINISHED and steps > self.steps_done:
            # The end of the schedule was moved on.
            self._status = None
        self._announce(steps)
        self.parts.data.take_back()
        if self._status is None:
            self.parts.evaluations.catch_up()

    @held_back
    def before_batch(self, batch: Any) -> None:
        """Begin an update: gradients are dropped, and what a forward pass can change is copied.

        Args:
            batch: the batch, or a tuple of `accumulate` batches.

        Raises:
            PolicyHalt: the run was halted.
            InputError: the update before was not ended, or `batch` is not `accumulate` batches.
        """
        if self._status is RunStatus.HALTED:
            why = "halted by its policy: mend the cause and resume with after_halt=True, or under another policy"
            raise PolicyHalt(why) from self._halted_by
        several = self._accumulate > 1
        if several and not (isinstance(batch, (tuple, list)) and len(batch) == self._accumulate):
            raise InputError(f"step: with accumulate={self._accumulate} it takes a tuple of as many batches")
        if self._attempt is not None and self._attempt.phase is not Phase.ENDED:
            raise InputError("before_batch: the update before was not ended: call after_backward, or abandon it")
        self._unused = False
        if not self._at_work:
            # A step beyond the end, or after `close`: the run goes on, and ends anew.
            self._status = None
            self._announce(None)
        self._attempt = self.parts.step.begin(tuple(batch) if several else (batch,))

    @held_back
    def after_backward(self, loss: Tensor | None, error: Exception | None = None) -> Verdict:
        """Judge the update once its gradients are there: before they are clipped, and before the optimizer steps.

        A gradient scaler's gradients are unscaled here, unless they are already. The policy's `gradient_clip` and
        `on_gradients` have been applied when the verdict says to apply the update.

        Args:
            loss: the loss of the update, not scaled: with several batches the mean of theirs. None with an `error`.
            error: what the forward or the backward pass raised, if it did.

        Raises:
            InputError: no update was begun, or neither a loss nor an error is given.
            RuntimeError: `error` itself, where it says that a process of a data loader is gone: the update is given up.
        """
        attempt = self._open(Phase.BEGUN, "after_backward", "before_batch")
        if error is None and not (isinstance(loss, Tensor) and loss.numel() == 1):
            raise InputError("after_backward: give the loss of the update, a tensor of one element, or the error")
        if error is not None and is_dead_loader(error):
            # No update is at fault, and the data cannot go on: whoever started this process has to begin anew.
            self.abandon()
            raise error
        try:
            verdict = self.parts.step.judge(attempt, loss, error)
        except BaseException:
            # An interrupt; once the update is being discarded, there is nothing left to give up.
            if attempt.phase is Phase.BEGUN:
                self.abandon()
            raise
        return self._answered(verdict)

    def applying(self) -> AbstractContextManager[None]:
        """The block in which the optimizer steps: learning rates are scaled inside, and are nominal again after it.

        An exception raised in it is kept and answered by `after_step`.

        Raises:
            InputError: the verdict of `after_backward` was not to apply the update.
        """
        attempt = self._open(Phase.PASSED, "applying", "after_backward")
        # Until `after_step` has ended.
        self.interrupts.hold()
        return self.parts.step.applying(attempt)

    @held_back
    def after_step(self) -> Verdict:
        """End an update whose optimizer has stepped: the schedule steps, the state is looked at where that is due, and
        a snapshot or a checkpoint is taken where one is.

        Raises:
            InputError: the optimizer has not stepped inside `applying`.
        """
        attempt = self._open(Phase.STEPPING, "after_step", "applying")
        try:
            return self._answered(self.parts.step.settle(attempt))
        finally:
            self.interrupts.release()

    def abandon(self) -> None:
        """Give up the update that was begun, as if its batch had never been drawn: for an interrupt.

        Nothing happens where none is open.

        Raises:
            InputError: its optimizer has begun to step.
        """
        self._unused = False
        attempt = self._attempt
        if attempt is None or attempt.phase is Phase.ENDED:
            return
        if attempt.phase is Phase.STEPPING:
            raise InputError("abandon: the optimizer has stepped: call after_step")
        self.parts.step.give_up(attempt)
        self._attempt = None

    @property
    def steps_done(self) -> int:
        """Position in the schedule: steps used up so far."""
        return self.parts.ledger.counters.step

    @property
    def batches_drawn(self) -> int:
        """Position in the data: batches drawn so far, over all epochs."""
        return self.parts.data.batch_number

    @property
    def updates_attempted(self) -> int:
        """Updates attempted so far, the one in progress included; never goes back."""
        return self.parts.ledger.counters.update

    @property
    def status(self) -> RunStatus | None:
        """How the run ended; None while it goes on, and where an exception of the data or an interrupt broke it off."""
        return self._status

    @property
    def program_at_fault(self) -> str | None:
        """What is wrong with the program, as `file:line: what: mend`, where an exception of a step was raised for it:
        before any update was applied; None where nothing was found."""
        return self.parts.step.discarding.undoing.first.at_fault

    def request_stop(self) -> None:
        """Let the loop end after the step in progress; safe in a signal handler."""
        self.parts.stop.requested = True

    @held_back
    def finish(self, status: RunStatus = RunStatus.FINISHED) -> RunSummary:
        """End the run in good order: last checkpoint, metrics, `run_finished`. `run` and `batches` call it.

        Where there is a run directory and the last checkpoint cannot be written, the run ends as `unsaved`.
        """
        if self._status is None:
            parts = self.parts
            self._announce(None)
            self.abandon()
            parts.data.take_back()
            lost = parts.last_state.secure()
            if status is RunStatus.FINISHED:
                parts.evaluations.at_the_end()
            self._status = status if lost is None else RunStatus.UNSAVED
            parts.states.flush()
            parts.run_log.states_seconds = parts.taker.seconds
            parts.run_log.finished(self._status, lost)
            self._rest()
        return self.summary()

    def summary(self) -> RunSummary:
        """What the run came to; one that has not ended, or that an exception broke off, reads as `interrupted`."""
        return self.parts.run_log.summary(self._status or RunStatus.INTERRUPTED)

    def flush(self) -> None:
        """Wait until every checkpoint begun is on disk."""
        self.parts.states.flush()

    @held_back
    def close(self) -> None:
        """Wait for what is being written, close the event log, and let another guard have the run directory.

        It does not end the run: `finish` does, and so does leaving a `with` block.
        """
        self.flush()
        self.parts.log.close()
        self._rest()

    def _rest(self) -> None:
        """Nothing is written from here on, until the run goes on."""
        self._at_work = False
        self.parts.writer.release()

    def _open(self, phase: Phase, called: str, first: str) -> Attempt:
        if self._attempt is None or self._attempt.phase is not phase:
            raise InputError(f"{called}: call {first} first, once for each update")
        return self._attempt

    def _answered(self, verdict: Verdict) -> Verdict:
        if not verdict.apply:
            # It has ended: its batches and the copies from before them are not kept until the next.
            self._attempt = None
        if verdict.halt:
            self._status, self._halted_by = RunStatus.HALTED, verdict.cause
            self._rest()
        return verdict

    def _announce(self, steps: int | None) -> None:
        """Put the start of the run on record and take the initial state, once."""
        refuse(many_ranks())
        self.parts.writer.hold()
        self._at_work = True
        end = steps or self.parts.taker.end
        self.parts.taker.end = self.parts.run_log.silence.end = end
        if self._announced or self._status is not None:
            return
        self._announced = True
        self.parts.run_log.started(steps, self._about, self.parts.check.exempt_buffers)
        self.parts.setup.begin()
        self.parts.taker.begin()
        self.parts.setup.begun()
