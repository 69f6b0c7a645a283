"""Times as people say them, and what is said of a run that went without a word."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from supervisor.events.owner_file import Owner, claim
from supervisor.report.durations import duration, how_it_went
from supervisor.report.status import RunState
from supervisor.run_layout import RunLayout
from supervisor.testing.clock import FakeClock

CLAIM = "import sys; from pathlib import Path; from supervisor.events.owner_file import claim; claim(Path(sys.argv[1]))"


def claimed_by_one_that_is_gone(layout: RunLayout) -> None:
    subprocess.run([sys.executable, "-c", CLAIM, str(layout.lock)], check=True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.25, "0.25 s"),
        (48, "48 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations_read_as_a_person_says_them(seconds: float, text: str):
    assert duration(seconds) == text


class TestAProcessThatIsGone:
    def test_it_is_said_since_when_and_how_to_go_on(self, tmp_path: Path) -> None:
        layout, clock = RunLayout(tmp_path), FakeClock()
        claimed_by_one_that_is_gone(layout)
        updated = clock.now() - timedelta(seconds=200)
        said = "ended without a word (last event 3 min 20 s ago); "
        assert how_it_went(layout, updated, clock) == said + "there is no checkpoint to go on from"
        (layout.checkpoints / "step-00000010").mkdir(parents=True)
        assert how_it_went(layout, updated, clock) == said + "go on with Guard(..., resume=True)"
        layout.job.touch()
        assert how_it_went(layout, updated, clock) == said + "go on with --resume"

    def test_of_one_that_is_there_or_is_of_another_machine_nothing_is_said(self, tmp_path: Path) -> None:
        layout = RunLayout(tmp_path)
        assert how_it_went(layout, None) is None
        claim(layout.lock)
        assert how_it_went(layout, None) is None
        away = Owner.this_process().model_copy(update={"host": "elsewhere", "pid": 2**22})
        layout.lock.write_text(away.model_dump_json())
        assert how_it_went(layout, None) is None

    def test_the_status_says_that_it_does_not_run(self, run: Any) -> None:
        run.step(1, 5)
        assert run.status().state is RunState.RUNNING
        claimed_by_one_that_is_gone(RunLayout(run.run_dir))
        status = run.status()
        assert status.state is RunState.NOT_RUNNING
        assert status.reason.startswith("ended without a word (last event ")
        run.at(2, run.finished())
        assert run.status().state is RunState.FINISHED
