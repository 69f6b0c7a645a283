"""A job run under the guard in this process: the exit code, the signs of life, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from supervisor.errors import ExitCode, InputError
from supervisor.events import read_events
from supervisor.job import ResolvedJob
from supervisor.process.ending import StopRequest
from supervisor.process.heartbeat import Heartbeat, Phase
from supervisor.process.spec import WorkerSpec
from supervisor.process.worker import run_job

Resolve = Callable[..., ResolvedJob]

pytestmark = pytest.mark.usefixtures("process_as_before")

HALTING = {"ladder": [{"action": "skip_batch", "attempts": 1}, {"action": "halt"}]}


class StopsAtOnce(StopRequest):
    """Asks the run to end before its first step, without any signal."""

    def __init__(self) -> None:
        return

    def goes_to(self, receiver: Any) -> None:
        receiver.request_stop()


class NeverStops(StopsAtOnce):
    """Asks nobody."""

    def goes_to(self, receiver: Any) -> None:
        return


def work(resolved: ResolvedJob, stop: StopRequest | None = None) -> tuple[int, Heartbeat, Path]:
    spec = WorkerSpec.of(resolved, run_id="abc", resume=False)
    heartbeat = Heartbeat(spec.layout.heartbeat, create=True)
    return run_job(spec, stop or NeverStops(), heartbeat), heartbeat, Path(spec.run_dir)


def names(run_dir: Path) -> list[str]:
    return [event.event for event in read_events(run_dir)]


def test_a_run_that_finishes(resolve: Resolve, capsys: pytest.CaptureFixture[str]) -> None:
    code, heartbeat, run_dir = work(resolve(steps=20, seed=3))
    assert code == ExitCode.FINISHED
    pulse = heartbeat.read()
    assert (pulse.step, pulse.phase, pulse.code) == (19, Phase.ENDED, ExitCode.FINISHED)
    assert pulse.beats == 23, "a sign for each step, one as training begins, one as it evaluates, one as it ends"
    assert names(run_dir)[0] == "run_started"
    assert names(run_dir)[-1] == "run_finished"
    started = next(read_events(run_dir))
    assert (started.run_id, started.model_dump()["seed"], started.model_dump()["log"]) == ("abc", 3, "run")
    shown = capsys.readouterr().out
    assert "Finished" in shown
    assert "run/events" in shown


def test_a_run_that_halts(resolve: Resolve, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, run_dir = work(resolve(config={"fault": "nan", "at": 6}, policy=HALTING))
    assert code == ExitCode.HALTED
    shown = capsys.readouterr()
    assert "halted: nonfinite_loss" in shown.out
    # It is the console's to say, so that nothing is said twice.
    assert "incident" not in shown.err
    assert "run_halted" in names(run_dir)


def test_a_run_that_is_stopped_writes_a_checkpoint(resolve: Resolve) -> None:
    code, _, run_dir = work(resolve(), StopsAtOnce())
    assert code == ExitCode.INTERRUPTED
    assert any((run_dir / "checkpoints").glob("step-*"))


PROGRAMS = {
    "loss": ("return (self.model(x) - y).square().mean()", "return {'loss': 1}", ".*not dict: return the loss alone"),
    "shapes": ("(self.model(x) - y)", "(self.model(x[:, :3]) - y)", "RuntimeError: .*each of the first 3 batches"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_no_batch_can_pass_is_told_with_its_line(
    resolve: Resolve, tmp_path: Path, capsys: pytest.CaptureFixture[str], program: str
) -> None:
    resolved, file = resolve(), tmp_path / "mine.py"
    right, wrong, said = PROGRAMS[program]
    source = file.read_text(encoding="utf-8")
    assert right in source
    file.write_text(source.replace(right, wrong), encoding="utf-8")
    at = "def loss(" if program == "loss" else wrong
    lines = file.read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(lines, 1) if at in text)
    with pytest.raises(InputError, match=rf"mine\.py:{line}: {said}"):
        work(resolved)
    assert {"signal", "decision", "incident_opened"}.isdisjoint(names(resolved.run_dir))
    assert ("Traceback" in capsys.readouterr().err) is (program == "shapes")


def test_faults_of_the_job_are_injected(resolve: Resolve) -> None:
    code, _, run_dir = work(resolve(faults=[{"kind": "nan_batch", "at_batch": 3}]))
    assert code == ExitCode.FINISHED
    signals = [event for event in read_events(run_dir) if event.event == "signal"]
    assert signals[0].step == 3
    assert (run_dir / "faults.jsonl").is_file()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"device": "cuda"}, r"job\.yaml:4: device: cuda: .*no CUDA device: write"),
        ({"trainer": "mine:Tinny"}, r"job\.yaml:1: trainer: mine has no Tinny"),
        (
            {"policy": {"ladder": [{"action": "reinitialize", "modules": ["linnear"]}]}},
            r"job\.yaml:\d+: policy\.ladder\.0\.modules: 'linnear' matches no module",
        ),
        (
            {"faults": [{"kind": "nan_weight", "at_batch": 1, "parameter": "3.weight"}]},
            r"job\.yaml:\d+: faults.0.parameter: .*matches no parameter",
        ),
    ],
    ids=["device", "trainer", "policy", "faults"],
)
def test_what_does_not_fit_is_told_with_its_line(resolve: Resolve, values: dict[str, Any], said: str) -> None:
    if values.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(InputError, match=said):
        work(resolve(**values))


@pytest.mark.parametrize(("interval", "steps"), [("None", 1), ("'step'", 1), ("'epoch'", 8)])
def test_a_scheduler_steps_as_often_as_its_trainer_says(resolve: Resolve, interval: str, steps: int) -> None:
    """An epoch of the trainer has eight batches."""
    resolved = resolve(steps=20, log_every_steps=1)
    module = Path("mine.py")
    made = "self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 0.5**step)"
    made += f"; self.scheduler_interval = {interval}"
    module.write_text(module.read_text("utf-8").replace("self.calls = 0", f"self.calls = 0; {made}"), encoding="utf-8")
    _, _, run_dir = work(resolved)
    noted = [event.model_dump() for event in read_events(run_dir) if event.event == "step"]
    (first, last), halvings = (noted[0], noted[-1]), noted[-1]["step"] // steps - noted[0]["step"] // steps
    assert halvings > 0
    assert last["lr"] == pytest.approx(first["lr"] * 0.5**halvings)
