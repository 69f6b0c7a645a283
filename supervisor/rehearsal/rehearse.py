"""Runs a job twice, without faults and with them, and scores the difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from supervisor.errors import ExitCode, InputError
from supervisor.faults import Fault, load_faults
from supervisor.faults.model import ForwardException, NanSample, ParameterFault
from supervisor.job import ResolvedJob, load_job
from supervisor.process.helper import run_helper
from supervisor.process.parent import Parent
from supervisor.process.spec import WorkerSpec
from supervisor.rehearsal.score import Score, score_run
from supervisor.report.status import RunState, read_status
from supervisor.run_layout import RunLayout, replace_file

__all__ = ["Rehearsal"]

FIT = "supervisor.process.faults_entry"

SAME = ("trainer", "config", "seed", "steps")
"""What a reference has to share with the job for the comparison to mean anything."""


class Rehearsal:
    """A job, rehearsed in `DIR/rehearsal` beside `DIR/reference`.

    Args:
        resolved: the job; its run directory is `DIR`.
        faults: a fault file as the user typed it, or None for the job's own faults.
        reference: a finished run of the same job without faults, to be used again; None: one is run first.

    Raises:
        InputError: there are no faults, a fault is wrong, the reference is of another job, or `DIR` holds something.

    Attributes:
        directory: `DIR` as the user typed it.
    """

    def __init__(self, resolved: ResolvedJob, faults: str | None, reference: str | None) -> None:
        self.directory = resolved.job.run_dir
        self._resolved = resolved
        self._source = _source(resolved, faults)
        self._faults = _loaded(resolved, faults)
        self._typed = faults
        self._reference = reference
        if reference is not None:
            _check_reference(reference, resolved)
        if resolved.run_dir.is_dir() and any(resolved.run_dir.iterdir()):
            raise InputError(f"{self.directory}: holds something already: write another --run-dir")

    def run(self, say: Callable[[str], object]) -> tuple[ExitCode, Score | None]:
        """Run the reference, where there is none yet, then the rehearsal; write `score.json`.

        Args:
            say: told what begins.

        Returns:
            How the rehearsal ended (or the reference, where it did not finish), and the score, if there is one.

        Raises:
            InputError: the run directory cannot be used.
        """
        steps, rehearsed = self._resolved.job.steps, self._part("rehearsal", self._source)
        if not _fit(self._faults, rehearsed):
            return ExitCode.BAD_INPUT, None
        if self._reference is None:
            say(f"Reference: {steps} steps without faults, in {self.directory}/reference")
            code = Parent(self._part("reference", None)).run()
            if code is not ExitCode.FINISHED:
                say(f"The reference did not finish (exit code {code:d}): there is nothing to compare with")
                return code, None
        say(f"Rehearsal: {steps} steps with {len(self._faults)} faults, in {self.directory}/rehearsal")
        code = Parent(rehearsed).run()
        if code is ExitCode.BAD_INPUT:
            return code, None
        found = score_run(rehearsed.run_dir, self._faults, self._reference_dir)
        replace_file(RunLayout(rehearsed.run_dir).score, found.model_dump_json(indent=2) + "\n")
        return code, found

    @property
    def _reference_dir(self) -> Path:
        return self._resolved.run_dir / "reference" if self._reference is None else Path(self._reference)

    def _part(self, name: str, faults: Path | list[object] | None) -> ResolvedJob:
        """The job with another run directory and other faults."""
        written = str(faults) if isinstance(faults, Path) else faults
        changes = {"run_dir": f"{self.directory}/{name}", "faults": written}
        origins = self._resolved.origins
        return replace(
            self._resolved,
            job=self._resolved.job.model_copy(update=changes),
            run_dir=self._resolved.run_dir / name,
            faults=faults,
            origins=origins if self._typed is None else origins.with_flag(("faults",), f"--faults {self._typed}"),
        )


def _source(resolved: ResolvedJob, typed: str | None) -> Path | list[object]:
    if typed is not None:
        return Path(typed).absolute()
    if resolved.faults is None:
        raise InputError(f"{resolved.source}: faults: there are none: add --faults F.yaml")
    return resolved.faults


def _loaded(resolved: ResolvedJob, typed: str | None) -> Sequence[Fault]:
    written = resolved.faults if typed is None else typed
    faults = load_faults(str(written) if isinstance(written, Path) else written, resolved.origins)
    if not faults:
        where = typed if typed is not None else resolved.where("faults")
        raise InputError(f"{where}: faults: the list is empty: write one, as `- {{kind: nan_batch, at_batch: 100}}`")
    return faults


def _fit(faults: Sequence[Fault], rehearsed: ResolvedJob) -> bool:
    """Whether what the faults name is there in the trainer; where it is not, that was said.

    Asked before the reference is trained, which may take hours.
    """
    if not any(_names_something(fault) for fault in faults):
        return True
    spec = WorkerSpec.of(rehearsed, run_id="faults", resume=False)
    return run_helper(FIT, told=spec.to_line().decode("ascii"), output=2) != ExitCode.BAD_INPUT


def _names_something(fault: Fault) -> bool:
    return isinstance(fault, ParameterFault | NanSample) or (
        isinstance(fault, ForwardException) and fault.module is not None
    )


def _check_reference(typed: str, resolved: ResolvedJob) -> None:
    written = RunLayout(Path(typed)).job
    if not written.is_file():
        raise InputError(f"--reference {typed}: holds no run (no job.yaml): name the folder of a finished run")
    job = load_job(str(written)).job
    wrong = [f"is of another job, {key} differs" for key in SAME if getattr(job, key) != getattr(resolved.job, key)]
    if job.faults is not None:
        wrong.append("was run with faults")
    if not wrong and read_status(Path(typed)).state is not RunState.FINISHED:
        wrong.append("has not finished")
    if wrong:
        raise InputError(f"--reference {typed}: {wrong[0]}: leave it out, and one is run first")
