"""What `supervisor explain` tells of real incidents."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from support.command import supervise, write_job, write_trainer
from support.training import build, guard_of, healthy_batches, nan_batch, quiet

from supervisor.errors import InputError
from supervisor.records import CauseKind
from supervisor.report.story import plain_incident, read_story
from supervisor.report.story_view import render_incident, render_run

BATCHES = healthy_batches(60)
POLICY = quiet(
    ladder=[
        {"action": "skip_batch", "attempts": 2},
        {"action": "reload_checkpoint", "attempts": 1},
        {"action": "halt"},
    ],
    snapshot={"every_steps": 5},
    probation_steps=2,
    cooldown_steps=4,
)


def run(run_dir: Path, bad: set[int], *, poisoned_at: int | None = None) -> None:
    """A run with NaN in the batches of these numbers, and in a weight before one."""
    training = build()
    data = [nan_batch(batch) if number in bad else batch for number, batch in enumerate(BATCHES)]
    guard = guard_of(training, policy=POLICY, data=data, run_dir=run_dir)
    for batch in guard.batches(40):
        if guard.batches_drawn - 1 == poisoned_at:
            with torch.no_grad():
                training.model.outer.weight[0, 0] = math.nan
        try:
            guard.step(batch)
        except Exception:  # noqa: BLE001  (a halt ends the run; what it says is read from its record)
            break
    guard.close()


def test_an_incident_is_told_from_the_finding_to_the_mend(tmp_path: Path) -> None:
    run(tmp_path / "run", {12, 13, 14})
    story = read_story(str(tmp_path / "run")).incident("1", "run")
    text = "\n".join(render_incident(story, "run"))
    for said in (
        "Incident 1: nonfinite_loss",
        "recovered by reload_checkpoint",
        "steps 12 to 14 (updates 12 to 14): nonfinite_loss (loss nan)",
        "bad_input (the data): ",
        "step 12: skip_batch (rung 0)",
        "step 13: skip_batch (rung 0)",
        "step 14: reload_checkpoint (rung 1)",
        "back to step 10 from memory",
        "reload_checkpoint cured it; closed at step 13; it cost 5 steps",
        "of batch 12: batch.pt holds it",
        "look into them with torch.load",
    ):
        assert said in text, said


def test_a_poisoned_weight_is_told_apart_from_the_data(tmp_path: Path) -> None:
    run(tmp_path / "run", {30}, poisoned_at=12)
    first, second = read_story(str(tmp_path / "run")).incidents
    assert first.record.cause is not None
    assert (first.record.cause.kind, first.record.cause.parameter) == (CauseKind.POISONED_PARAMETER, "outer.weight")
    assert any("state_every_steps: 1" in line for line in first.advice)
    assert second.record.cause is not None
    assert second.record.cause.kind is CauseKind.BAD_INPUT
    overview = "\n".join(render_run(read_story(str(tmp_path / "run")), "run"))
    assert "run: 2 incidents" in overview
    assert "- (incident 1) outer.weight was not finite before the step" in overview


def test_the_end_of_a_run_is_told_with_what_to_do(tmp_path: Path) -> None:
    run(tmp_path / "run", set(range(12, 40)))
    story = read_story(str(tmp_path / "run")).incidents[-1]
    assert "the run halted at step" in "\n".join(render_incident(story, "run"))
    assert any("resume=True" in line for line in story.advice)


def test_the_json_is_the_record_with_the_advice(tmp_path: Path) -> None:
    run(tmp_path / "run", {12})
    story = read_story(str(tmp_path / "run")).incident("1", "run")
    written = json.loads((tmp_path / "run" / "incidents" / "0001" / "incident.json").read_text())
    assert plain_incident(story) == {
        "name": "1",
        **written,
        "advice": list(story.advice),
        "left_out": [],
        "undone": None,
    }


def test_a_run_without_incidents_says_so(tmp_path: Path) -> None:
    run(tmp_path / "run", set())
    first, account = render_run(read_story(str(tmp_path / "run")), "run")
    assert first == "run: no incidents"
    assert "training" in account


def test_an_incident_that_is_not_there_or_cannot_be_read(tmp_path: Path) -> None:
    run(tmp_path / "run", {12})
    story = read_story(str(tmp_path / "run"))
    with pytest.raises(InputError, match="there is no incident 7: write one of 1"):
        story.incident("7", "run")
    (tmp_path / "run" / "incidents" / "0001" / "incident.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"incident\.json: not the record of an incident"):
        read_story(str(tmp_path / "run"))


@pytest.fixture(scope="module")
def job_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a job has run into NaN and halted."""
    folder = tmp_path_factory.mktemp("job")
    policy = {"ladder": [{"action": "skip_batch", "attempts": 1}, {"action": "halt"}]}
    config = {"fault": "nan", "at": 6}
    trainer = write_trainer(folder)
    write_job(folder, trainer=trainer, steps=20, config=config, policy=policy, run_dir="run", device="cpu")
    assert supervise("run", "job.yaml", cwd=folder).returncode == 3
    return folder


def test_the_command_tells_and_runs_the_step_again(job_run: Path) -> None:
    told = supervise("explain", "run", cwd=job_run)
    assert told.returncode == 0, told.stderr
    assert "1. nonfinite_loss" in told.stdout
    again = supervise("explain", "run", "1", "--replay", cwd=job_run)
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("step 6 again, from the state before it: loss ")
    plain = json.loads(supervise("explain", "run", "1", "--replay", "--json", cwd=job_run).stdout)
    assert isinstance(plain["grad_norm"], float)


STATISTICS = """
import torch
from torch import nn


class Spoils:
    def __init__(self, seed):
        generator = torch.Generator().manual_seed(seed)
        self.data = [torch.randn(8, 4, generator=generator) for _ in range(8)]
        self.data[5][0] = 1e25
        self.model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)

    @classmethod
    def from_config(cls, mapping, *, seed):
        return cls(seed)

    def loss(self, batch):
        return self.model(batch).square().mean()
"""


@pytest.mark.slow
def test_statistics_that_a_batch_spoilt_are_not_called_healthy(tmp_path: Path) -> None:
    """Loss and gradients are finite, then as now."""
    (tmp_path / "mine.py").write_text(STATISTICS, encoding="utf-8")
    policy = {"ladder": [{"action": "halt"}], "detect": {"spike": None}}
    write_job(tmp_path, trainer="mine:Spoils", steps=8, policy=policy, run_dir="run", device="cpu")
    assert supervise("run", "job.yaml", cwd=tmp_path).returncode == 3
    record = json.loads((tmp_path / "run" / "incidents" / "0001" / "incident.json").read_text(encoding="utf-8"))
    assert record["signals"] == ["nonfinite_buffer"]
    done = supervise("explain", "run", "1", "--replay", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert math.isfinite(again["loss"] + again["grad_norm"])
    assert (again["healthy"], again["bad_buffers"]) == (False, ["1.running_var"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such run directory"),
        (["run", "9"], "there is no incident 9"),
        (["run", "--replay"], "say which incident"),
    ],
)
def test_bad_input_is_told_in_a_line(job_run: Path, arguments: list[str], said: str) -> None:
    done = supervise("explain", *arguments, cwd=job_run)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
