"""Each example, as a user runs it: what it prints, and what its run directory has on record."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import PATIENCE_SECONDS, environment, read_lines

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def finished(name: str, steps: int, tmp_path: Path) -> tuple[str, list[dict[str, object]]]:
    """What an example printed, and the decisions in its record."""
    done = run(name, "--steps", str(steps), "--run-dir", str(tmp_path / "run"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # Nothing else, warnings of libraries least of all: the guard says each incident.
    assert re.fullmatch(r"(supervisor: step \d+  .+  → .+\n)*", done.stderr), done.stderr
    lines = read_lines(tmp_path / "run")
    assert lines[-1]["event"] == "run_finished"
    assert lines[-1]["step"] == steps
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    return done.stdout, lines


def decisions(lines: list[dict[str, object]]) -> list[tuple[object, object]]:
    return [(line["step"], line["action"]) for line in lines if line["event"] == "decision"]


def test_the_classifier_loses_two_batches_and_nothing_else(tmp_path: Path) -> None:
    printed, lines = finished("classifier", 80, tmp_path)
    # The rows of the first one are known, so that what is left of it comes again and takes a step.
    assert decisions(lines) == [(12, "skip_batch"), (72, "skip_batch")]
    assert "78 of 80 steps applied, {'nonfinite_loss': 2} recovered" in printed
    guarded, plain = map(float, re.findall(r"(0\.\d+) (?:with|without)", printed))
    assert guarded > 0.7
    assert plain < 0.35


@pytest.mark.slow
def test_what_went_wrong_is_said_while_it_trains(tmp_path: Path) -> None:
    done = run("classifier", "--steps", "80", "--run-dir", str(tmp_path / "run"), cwd=tmp_path)
    assert done.stderr.splitlines() == [
        "supervisor: step 12  nonfinite_loss  bad data: row 400 (left out)  → skipped",
        "supervisor: step 72  nonfinite_loss  bad data: row 2300 (left out)  → skipped",
    ]


@pytest.mark.slow
def test_the_language_model_goes_back_behind_the_flipped_bit_and_resumes(tmp_path: Path) -> None:
    printed, lines = finished("gru_language_model", 60, tmp_path)
    assert decisions(lines) == [(29, "reload_checkpoint")]
    (signal,) = [line for line in lines if line["event"] == "signal" and line["signal"] == "nonfinite_parameter"]
    assert signal["tensors"] == ["embedding.weight"]
    (back,) = [line["restored_step"] for line in lines if line["event"] == "action_applied"]
    resumed = re.search(r"interrupted at step (\d+).*\nresumed at step (\d+)\n", printed)
    assert resumed is not None
    assert back == 20
    # Interrupted by the data's position, 45 batches in: the reload took ten steps back, not the batches.
    assert resumed.groups() == ("35", "35")
    assert [line["checkpoint_step"] for line in lines if line["event"] == "run_resumed"] == [35]
    losses = [float(loss) for loss in re.findall(r"averaged loss (\d\.\d+)", printed)]
    assert losses[1] < losses[0] < 4


@pytest.mark.slow
def test_mixed_precision_calibrates_its_scale_and_skips_what_no_scale_can_hold(tmp_path: Path) -> None:
    printed, lines = finished("mixed_precision", 50, tmp_path)
    assert decisions(lines) == [(20, "skip_batch"), (45, "skip_batch")]
    calibrating = re.search(r"(\d+) overflows while the scale calibrated, 2 bad batches skipped", printed)
    assert calibrating is not None
    assert 3 <= int(calibrating[1]) <= 12
    assert f"{50 - 2 - int(calibrating[1])} of 50 steps applied" in printed


@pytest.mark.slow
def test_a_loop_of_its_own_loses_two_batches_and_goes_on_where_it_stood(tmp_path: Path) -> None:
    printed, lines = finished("primitives", 50, tmp_path)
    assert decisions(lines) == [(20, "skip_batch"), (45, "skip_batch")]
    assert [line["kind"] for line in lines if line["event"] == "diagnosis"] == ["bad_input", "exception"]
    assert "48 of 50 steps applied" in printed
    resumed, lines = finished("primitives", 60, tmp_path)
    assert [line["checkpoint_step"] for line in lines if line["event"] == "run_resumed"] == [50]
    unbroken = run("primitives", "--steps", "60", "--run-dir", str(tmp_path / "unbroken"), cwd=tmp_path).stdout
    said = re.compile("finished: 58 of 60 steps applied, loss .*")
    assert said.findall(resumed) == said.findall(unbroken) != []


def test_a_mistake_in_the_arguments_is_said_in_a_line(tmp_path: Path) -> None:
    done = run("classifier", "--steps", "0", "--run-dir", str(tmp_path / "run"), cwd=tmp_path)
    assert done.returncode == 2
    assert "steps: 0: write a whole number, 1 or more" in done.stderr
    assert "Traceback" not in done.stderr


def test_each_is_short_and_all_are_tested() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == [
        "classifier",
        "gru_language_model",
        "mixed_precision",
        "primitives",
    ]
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 100
