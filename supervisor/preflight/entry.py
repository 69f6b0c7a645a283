"""Where the process begins in which a job is tried: `python -m supervisor.preflight.entry`, told on standard input."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from supervisor.clock import Clock, SystemClock
from supervisor.config.origins import refuse
from supervisor.errors import CheckpointError, ExitCode, InputError, text_of, traceback_of
from supervisor.events.quarantine_file import QuarantinedSample, read_quarantine, write_quarantine
from supervisor.preflight.capacity import judge_storage, run_seconds, slow_disk, smaller_batch, storage_of
from supervisor.preflight.checkpoint_check import check_checkpoint
from supervisor.preflight.data_pass import DataPass, told
from supervisor.preflight.lasting import begins_again, lasting
from supervisor.preflight.progress import PassProgress
from supervisor.preflight.reading import BatchReader, reader_of
from supervisor.preflight.report import DataCheck, Preflight
from supervisor.preflight.spec import PreflightSpec
from supervisor.preflight.trial import Trial, TrialFailed, WarningsHeard, batch_norms
from supervisor.process.shadowing import refuse_shadows
from supervisor.process.spec import WorkerSpec
from supervisor.process.trainer_loading import ready_trainer
from supervisor.process.trainer_misfits import evaluation_misfits
from supervisor.process.worker import device_of, guard_of_job, misfits_told
from supervisor.run_layout import RunLayout
from supervisor.streams import end, tell
from supervisor.tracebacks import users_frame
from supervisor.training.data_indices import loader_of_rows
from supervisor.training.fetching import tell_what_rows_raise
from supervisor.training.samples import sample_count
from supervisor.training.trainer import Trainer

__all__ = ["JobTrial", "main"]


class JobTrial:
    """Goes through the parts of a preflight; what was found stays, whatever comes after it.

    Args:
        spec: the job.
        clock: measures.

    Attributes:
        found: what was found so far, by field of `Preflight`.
        warnings: what the run would survive.
    """

    def __init__(self, spec: PreflightSpec, clock: Clock | None = None) -> None:
        job = spec.worker.job
        self.found: dict[str, Any] = {"job": spec.source, "trainer": job.trainer, "steps": job.steps}
        self.warnings: list[str] = []
        self._spec = spec
        self._clock = clock or SystemClock()
        self._phase = "starting"

    def run(self) -> Preflight:
        """Try the job.

        Returns:
            What was found; an exception on the way is one of its problems.
        """
        problems: tuple[str, ...] = ()
        try:
            problems = tuple(self._parts())
        except InputError as error:
            problems = error.problems
        except (TrialFailed, CheckpointError) as error:
            problems = (text_of(error),)
        except SystemExit as error:
            problems = (f"the trainer ends its process: {told(error)}",)
        except Exception as error:
            text = traceback_of(error)
            if users_frame(text) is None:
                # Not a line of the user's is in it: a mistake of this program's.
                raise
            tell(text.rstrip("\n"))
            problems = (f"while {self._phase}, the trainer raised {told(error)}",)
        return Preflight(**self.found, warnings=tuple(self.warnings), problems=problems)

    def _parts(self) -> list[str]:
        spec, job = self._spec.worker, self._spec.worker.job
        device = device_of(spec)
        self.found["device"] = str(device)
        trainer = self._build(device)
        refuse(evaluation_misfits(job, trainer, spec.origins))
        if job.faults:
            self.warnings.append("the job names `faults`: they were left out here, and `run` injects them")
        if RunLayout(spec.run_dir).job.exists():
            self.warnings.append(f"{job.run_dir} holds a run already: `run` goes on with it under --resume only")
        left_out = () if spec.quarantine is None else read_quarantine(spec.quarantine)
        by_index = loader_of_rows(trainer.data) is not None
        # Rows are read past the loader; other data are passed over last, since they may not come again.
        data = self._pass(trainer, left_out) if by_index else None
        write_quarantine(self._spec.quarantine, [*left_out, *_bad(data)])
        problems = self._steps(trainer, device, spec)
        data = self._pass(trainer, left_out, self._trial.drawn) if data is None else data
        self._smallest_batch(data)
        return problems + self._lasting(trainer, data)

    def _build(self, device: torch.device) -> Trainer:
        self._enter("building the trainer")
        # Before the working directory comes onto the import path.
        refuse_shadows(Path.cwd())
        tell_what_rows_raise()
        started = self._clock.monotonic()
        try:
            trainer = ready_trainer(self._spec.worker.job, self._spec.worker.origins, device)
        except InputError:
            raise
        except Exception as error:
            tell(traceback_of(error).rstrip("\n"))
            raise TrialFailed(f"the trainer cannot be built: {told(error)}") from error
        self.found["build_seconds"] = self._clock.monotonic() - started
        return trainer

    def _pass(self, trainer: Trainer, left_out: tuple[QuarantinedSample, ...], drawn: int = 0) -> DataCheck:
        self._enter("reading the data")
        most, needed = self._spec.rows, self._spec.worker.job.steps
        try:
            reader = reader_of(trainer.data, [sample.index for sample in left_out], max(0, needed - drawn))
            total = reader.total if most is None or reader.unit == "batches" else min(most, reader.total or most)
            if most is None and isinstance(reader, BatchReader):
                total = total or reader.most
            with PassProgress(reader.unit, total) as progress:
                data = DataPass(reader, progress.shown).run(most)
        except Exception as error:
            # A row that raises does not come here: a sampler or a length does.
            tell(traceback_of(error).rstrip("\n"))
            raise TrialFailed(f"the data cannot be read: {told(error)}") from error
        self.found["data"] = data
        return data

    def _steps(self, trainer: Trainer, device: torch.device, spec: WorkerSpec) -> list[str]:
        run_dir, policy, steps = self._spec.run_dir, spec.policy, spec.job.steps
        free = shutil.disk_usage(self._spec.folder).free
        heard = WarningsHeard()
        # A disk that refuses is what is asked about: nothing is gained by trying it for a minute.
        saving = policy.checkpoint.model_copy(update={"last_save_seconds": 0.0})
        at_once = policy.model_copy(update={"checkpoint": saving})
        given = {"run_dir": run_dir, "quarantine": self._spec.quarantine, "policy": at_once}
        tried = spec.model_copy(update=given)
        self._enter("putting the trainer under the guard")
        with misfits_told(spec):
            guard = guard_of_job(tried, trainer, device, heard, None)
        trial = self._trial = Trial(guard, trainer, device, self._clock)
        try:
            self._enter("taking the first updates")
            step = trial.run(steps)
            self._enter("writing a checkpoint and reading it back")
            checkpoint = self.found["checkpoint"] = check_checkpoint(guard, RunLayout(run_dir), self._clock)
        finally:
            self.warnings += dict.fromkeys(heard.messages)
        guard.close()
        self._norms = batch_norms(trainer.model)
        self._enter("asking the model for its state_dict")
        try:
            trainer.model.state_dict()
        except Exception as error:  # noqa: BLE001  (whatever the user's model raises)
            self.warnings.append(
                f"the model's state_dict raises {told(error)}: `supervisor export` could not write the model"
            )
        self._enter("evaluating")
        try:
            evaluated = trial.evaluate()
        except TrialFailed as error:
            evaluated = None
            self.warnings.append(f"{text_of(error)}: the run would end without metrics")
        if evaluated is not None:
            step = step.model_copy(update={"evaluate_seconds": evaluated[0], "metrics": evaluated[1]})
        seconds = run_seconds(policy, steps, self.found["build_seconds"], step, checkpoint.write_seconds)
        step = self.found["step"] = step.model_copy(update={"run_seconds": seconds})
        storage = self.found["storage"] = storage_of(policy, steps, checkpoint, free, _memory(device))
        peak = step.peak_memory_bytes if step.peak_cuda_bytes is None else step.peak_cuda_bytes
        problems, warnings = judge_storage(storage, peak, spec.job.run_dir)
        waiting = slow_disk(policy, step.seconds, checkpoint.write_seconds)
        self.warnings += [*warnings, *([] if waiting is None else [waiting])]
        return problems

    def _lasting(self, trainer: Trainer, data: DataCheck) -> list[str]:
        """See whether the data have a batch for every step."""
        self._enter("seeing whether the data begin again")
        drawn, needed = self._trial.drawn, self._spec.worker.job.steps
        try:
            problem, note = lasting(data, drawn=drawn, needed=needed, again=lambda: begins_again(trainer.data))
        except Exception as error:
            raise TrialFailed(f"the data cannot be begun again: {told(error)}") from error
        if note is not None:
            self.found["data"] = data.model_copy(update={"notes": (note,)})
        return [] if problem is None else [problem]

    def _smallest_batch(self, data: DataCheck) -> None:
        """Try the loss on as few rows as the smallest batch of an epoch has."""
        usual = sample_count(self._trial.largest_batch)
        # More than the loader says: the first dimension is another than that of the rows.
        if data.smallest_batch is None or usual is None or usual > (data.largest_batch or 0):
            return
        self._enter("trying the smallest batch of an epoch")
        error = self._trial.refuses(data.smallest_batch)
        if error is not None:
            self.warnings.append(smaller_batch(data.smallest_batch, usual, self._norms, error))

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._spec.phase.write_text(phase, encoding="utf-8")


def main() -> int:
    """Try the job that standard input tells of; what was found goes into a file of its folder."""
    spec = PreflightSpec.model_validate_json(sys.stdin.buffer.read())
    try:
        found = JobTrial(spec).run()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    spec.report.write_text(found.model_dump_json(), encoding="utf-8")
    return ExitCode.BAD_INPUT if found.problems else ExitCode.FINISHED


def _bad(data: DataCheck | None) -> list[QuarantinedSample]:
    rows = () if data is None else data.bad_rows
    return [QuarantinedSample(index=row.index) for row in rows if row.index is not None]


def _memory(device: torch.device) -> int | None:
    """Memory of the machine, or of the device that the model is on."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    end(main())
