"""`Guard`: supervision for any PyTorch loop, and the loop itself for those who have none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from supervisor.clock import Clock, SystemClock
from supervisor.errors import InputError, PolicyHalt
from supervisor.events.quarantine_file import read_quarantine
from supervisor.events.schema import RunStatus, RunSummary
from supervisor.events.speech import Speaker
from supervisor.events.writer import Listener
from supervisor.guard.arguments import (
    NotGiven,
    refuse,
    wrong_loop,
    wrong_numbers,
    wrong_objects,
    wrong_switches,
    wrong_training,
)
from supervisor.guard.assembly import TrainingObjects, assemble
from supervisor.guard.block import Block
from supervisor.guard.evaluation_plan import plan_of
from supervisor.guard.interrupts import held_back
from supervisor.guard.outcome import StepOutcome, Verdict
from supervisor.guard.ownership import strangers
from supervisor.guard.ranks import many_ranks, sharded
from supervisor.guard.recovery import Redrawing, TrainerReset
from supervisor.guard.unread import answer_unread
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.record.run_files import Reporting
from supervisor.record.run_log import Evaluation, ProgressListener
from supervisor.training.bad_rows import BadSamples
from supervisor.training.data_cursor import DataCursor
from supervisor.training.data_position import DataPosition
from supervisor.training.loader_errors import is_dead_loader
from supervisor.training.optimizers import chained
from supervisor.training.schedule import Interval, Schedule
from supervisor.training.trainer import Stateful
from supervisor.update import Phase, UpdateSettings

__all__ = ["Guard"]


class Guard(Block):
    """Watches every step of a training and recovers it by the policy's ladder.

    Three forms: `run(steps)` is the whole loop; `for batch in guard.batches(steps): guard.step(batch)` is one's own; a
    loop that runs its model and its optimizer itself calls the primitives (`begin`, `before_batch`, `after_backward`,
    `applying`, `after_step`, `abandon`, `finish`; examples/primitives.py). A healthy run is bit for bit what it would
    be without the guard. `with Guard(...) as guard:` ends the run where the block is left, and closes it.

    Args:
        model: the model, on its device.
        optimizer: its optimizer (one whose `step` needs no closure), or several that share no parameter, in a list:
            they step one after the other. Parameters may be added to it while it trains (see `Subject`).
        loss: batch -> scalar tensor with a graph; needed by `run` and `step`, and may be called again to diagnose.
        data: iterable of batches, begun again when it ends; needed by `run` and `batches`.
        scheduler: stepped once per applied step, or per epoch (`scheduler_interval`); or several, in a list.
        scaler: gradient scaler.
        scheduler_interval: `"step"` or `"epoch"`.
        accumulate: batches an update; `batches` then yields, and `step` takes, that many in a tuple. Where some are
            bad by themselves, the signal names their positions (`batches`), and the others are drawn again.
        extra_state: objects with `state_dict`/`load_state_dict` that a step changes, by name.
        replay: batch -> loss, to run a step again when it went wrong; None: `loss`, where there is one; False: never.
        position: tells and takes back where the caller's own data stand, for resumes and `data: replay`.
        policy: path, mapping, `RecoveryPolicy`, or None for the built-in default.
        run_dir: where events, checkpoints and incidents go; None: memory only, nothing is written.
        quarantine: a list of samples to leave out, or several: the `quarantine.jsonl` of an earlier run. They are not
            read where the loader can be asked for others.
        resume: go on from the newest verified checkpoint in `run_dir`.
        after_halt: with `resume`, go on with a halted run too, with a fresh ladder and without cuts of the learning
            rate: what it was halted for is mended.
        on_gradients: called with the total gradient norm between inspection and update.
        sanitized: gives the number of values the model replaced since the last call, as a 0-dimensional tensor.
        seed: of the guard's own draws (re-initialisation); the global generators are never touched.
        evaluate: gives metrics, a mapping of names to numbers, at the end of the run. Whatever it does to the training
            is put back after it, and where it raises, that is a warning.
        evaluate_every_steps: evaluate after every so many steps too; None: only at the end.
        keep_best: `{"metric": NAME, "mode": "min" or "max"}`: the checkpoint on whose state the evaluation gave the
            best value is kept, whatever its age; one is written for it where none is due.
        reset_module: `(name, module, generator) -> bool`, the trainer's own way to redraw a module.
        log_every_steps: steps between two `step` events.
        record_observations: keep what every update measured in `observations.jsonl`, for `supervisor replay`.
        listeners: called with every event.
        quiet: do not say incidents, reloads, a halt and warnings on stderr.
        on_progress: called after each step with a `Progress`.
        clock: time, for durations and stamps.
        run_id: the run's name in the events; None: a new one, or the resumed run's.
        about: further fields of `run_started`.

    Raises:
        InputError: an argument, the policy or the run directory is wrong, a parameter is not finite, or the model or
            the optimizer is of a kind that cannot be supervised (docs/loops.md); another guard has the run directory
            open; or several processes train one model together.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer],
        loss: Callable[[Any], Tensor] | NotGiven = NotGiven.HERE,
        data: Iterable[Any] | None = None,
        scheduler: LRScheduler | Sequence[LRScheduler] | None = None,
        scaler: GradScaler | None = None,
        scheduler_interval: Interval = "step",
        accumulate: int = 1,
        extra_state: Mapping[str, Stateful] | None = None,
        replay: Callable[[Any], Tensor] | bool | None = None,
        position: Stateful | None = None,
        policy: str | Path | Mapping[str, Any] | RecoveryPolicy | None = None,
        run_dir: str | Path | None = None,
        resume: bool = False,
        after_halt: bool = False,
        quarantine: str | Path | Sequence[str | Path] | None = None,
        on_gradients: Callable[[float], object] | None = None,
        sanitized: Callable[[], Tensor] | None = None,
        seed: int | None = None,
        evaluate: Evaluation | None = None,
        evaluate_every_steps: int | None = None,
        keep_best: Mapping[str, str] | None = None,
        reset_module: TrainerReset | None = None,
        log_every_steps: int = 20,
        record_observations: bool = False,
        listeners: Iterable[Listener] = (),
        quiet: bool = False,
        on_progress: ProgressListener | None = None,
        clock: Clock | None = None,
        run_id: str | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        refuse(wrong_objects(model, data, scaler, extra_state))
        steps_by_epoch = scheduler is not None and scheduler_interval == "epoch"
        refuse(wrong_loop(loss, replay, data, position, steps_by_epoch=steps_by_epoch))
        given = None if isinstance(loss, NotGiven) else loss
        refuse(wrong_numbers(scheduler_interval, accumulate, log_every_steps, seed))
        refuse(
            wrong_switches(resume=resume, after_halt=after_halt, record_observations=record_observations, quiet=quiet)
        )
        self.policy = load_policy(policy)
        plan = plan_of(evaluate, evaluate_every_steps, keep_best)
        lists = [quarantine] if isinstance(quarantine, (str, Path)) else quarantine or ()
        known_bad = [sample for each in lists for sample in read_quarantine(each)]
        together = chained(optimizer)
        refuse(wrong_training(model, together, self.policy))
        refuse([*many_ranks(), *sharded(model, together), *strangers(model, together, scheduler)])
        clip = self.policy.gradient_clip
        self._cursor = None if data is None else DataCursor(data, [sample.index for sample in known_bad])
        self._loss = given
        schedule, where = Schedule(scheduler, scheduler_interval), self._cursor or DataPosition(position)
        clock, heard = clock or SystemClock(), (*listeners, *(() if quiet else (Speaker(),)))
        reporting = Reporting(
            run_dir,
            resume,
            run_id,
            log_every_steps,
            record_observations,
            heard,
            on_progress,
            clock,
            after_halt=after_halt,
        )
        try:
            parts = assemble(
                self.policy,
                TrainingObjects(model, together, schedule, scaler, dict(extra_state or {}), where),
                UpdateSettings(accumulate, None if clip is None else clip.max_norm, on_gradients, sanitized),
                reporting,
                Redrawing(seed or 0, reset_module),
                loss=given,
                replay=given if replay is None or replay is True else replay or None,
                known_bad=known_bad,
                plan=plan,
            )
        except BaseException:
            # The next try is not to find the directory open by this one.
            reporting.writer.release()
            raise
        log = None if run_dir is None else str(run_dir)
        about = {"log": log, "accumulate": accumulate, **(about or {})}
        super().__init__(parts, accumulate, about, resumed=resume)

    def run(self, steps: int) -> RunSummary:
        """Train until the schedule reaches `steps`, the policy halts, or a stop is requested.

        Raises:
            InputError: there are no batches or no loss, or `steps` is not a positive number.
        """
        # A halt is not an error here: the summary says it.
        with contextlib.suppress(PolicyHalt):
            for batch in self.batches(steps):
                self.step(batch)
        return self.summary()

    def batches(self, steps: int) -> Iterator[Any]:
        """The batches of a run, each to be handed to `step`, until the schedule reaches `steps`.

        Then the run is finished: last checkpoint, metrics. A batch given last and not used (a `break`) comes again.

        Raises:
            InputError: there are no batches, `steps` is not a positive number, or the batch before was neither handed
                to `step` or `before_batch` nor given up with `abandon`.
            PolicyHalt: the data raise for more batches than the policy allows.
        """
        if self._cursor is None:
            raise InputError("data: Guard needs `data` to give batches: pass an iterable of batches")
        self.begin(steps)
        while self.steps_done < steps and self._status is None and not self.parts.stop.requested:
            try:
                drawn = self._cursor.give(self._accumulate)
            except BadSamples as bad:
                verdict = self._answer_unread(bad)
                if verdict.halt:
                    raise PolicyHalt(verdict.reason or "") from verdict.cause
                continue
            except Exception as error:
                # What asks a whole job to stop ends the loader's processes too.
                if self.parts.stop.requested and is_dead_loader(error):
                    break
                if isinstance(error, InputError) and self.parts.ledger.counters.applied_steps:
                    # It does not go away by a restart: what was trained so far is not to be lost with it.
                    self.parts.taker.commit()
                raise
            self.parts.schedule.follow(self._cursor)
            self._unused = True
            yield drawn[0] if self._accumulate == 1 else drawn
            if self._unused and self._status is None and not self.parts.stop.requested:
                mend = "call `guard.step(batch)` once for each (`guard.abandon()` to leave one out)"
                raise InputError(f"batches: the batch given last was not handed to the guard: {mend}")
        if self._status is None:
            self.finish(RunStatus.FINISHED if self.steps_done >= steps else RunStatus.INTERRUPTED)

    @held_back
    def _answer_unread(self, bad: BadSamples) -> Verdict:
        self.parts.schedule.follow(self.parts.data)
        return self._answered(answer_unread(self.parts.step.discarding, bad))

    def note_next_batch(self) -> None:
        """Note what follows the last checkpoint, so that a resume can tell whether the data come again.

        For a process that ends now: one more batch is drawn for it. Nothing happens unless the run has ended in good
        order, and the data's own exceptions end nothing.
        """
        if self._cursor is not None and self._status in (RunStatus.FINISHED, RunStatus.INTERRUPTED):
            with contextlib.suppress(Exception):
                self._cursor.draw_ahead()

    def step(self, batch: Any) -> StepOutcome:
        """One supervised update: the primitives below, with the loss function, its backward pass and the optimizer.

        Raises:
            PolicyHalt: the ladder ended; the model is in the newest good state, or left as it is where that is sound.
            InputError: there is no loss function, or `batch` is not a tuple or list of `accumulate` batches, where
                that is more than one.
        """
        if self._loss is None:
            raise InputError("step: Guard needs `loss` for it: give a function of a batch, or use the primitives")
        self.before_batch(batch)
        attempt, executor = self._open(Phase.BEGUN, "step", "before_batch"), self.parts.executor
        loss, error = None, None
        try:
            loss = executor.compute(attempt.batches)
        except Exception as raised:  # noqa: BLE001  (whatever the user's loss raises is a finding)
            error = raised
        except BaseException:
            self.abandon()
            raise
        verdict = self.after_backward(loss, error)
        # The exception holds this very frame.
        error = None
        if verdict.apply:
            with self.applying():
                executor.step_optimizer()
            verdict = self.after_step()
        if verdict.outcome is None or verdict.halt:
            raise PolicyHalt(verdict.reason or "") from verdict.cause
        return verdict.outcome
