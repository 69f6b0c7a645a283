"""A run is stopped by what batch systems and terminals send, and gone on with from anywhere, also after a halt."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.command import COMMAND, PATIENCE_SECONDS, ask, environment, supervise, write_job, write_trainer
from support.runs import checkpoints, exits, named

OWN_HANDLER = '''
import os
import signal
import time
from pathlib import Path

from mine import Tiny


class Own(Tiny):
    """Handles SIGTERM itself, and is sent SIGHUP and SIGUSR1 by way of the parent in its 26th step."""

    def __init__(self, config, seed):
        super().__init__(config, seed)
        signal.signal(signal.SIGTERM, self.leave)

    def leave(self, number, frame):
        Path("heard").touch()
        raise SystemExit(0)

    def loss(self, batch):
        if self.calls == 25:
            os.kill(os.getppid(), signal.SIGHUP)
            os.kill(os.getppid(), signal.SIGUSR1)
            while not Path("heard").exists():
                time.sleep(0.001)
        return super().loss(batch)
'''


@pytest.mark.slow
def test_a_requeue_under_nohup_with_a_trainer_that_handles_sigterm_itself(tmp_path: Path) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    home.mkdir()
    away.mkdir()
    write_trainer(home)
    (home / "own.py").write_text(OWN_HANDLER)
    write_job(home, trainer="own:Own", steps=40, run_dir="run", device="cpu")
    # As `nohup` starts it; a hangup alone would stop it after fewer steps.
    command = ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", *COMMAND, "run", "job.yaml", "--auto-resume"]
    done = subprocess.run(
        command, cwd=home, env=environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 75, done.stderr
    assert (home / "heard").exists()
    assert exits(home / "run") == ["interrupted"]
    assert checkpoints(home / "run")[-1].name == "step-00000026"
    # From another place, with nothing but the directory: its trainer lies where the run was started.
    on = supervise("resume", "../home/run", "--steps", "45", cwd=away)
    assert on.returncode == 0, on.stderr
    assert checkpoints(home / "run")[-1].name == "step-00000045"
    (changed,) = named(home / "run", "settings_changed")
    assert changed.changes == ("steps (40, now 45)",)
    assert "resumed with other settings: steps (40, now 45)" in on.stdout
    assert named(home / "run", "warning") == []
    # Over: a requeue once more does nothing.
    over = ask("run", "job.yaml", "--auto-resume", cwd=home)
    assert (over.returncode, over.stderr) == (0, "")
    assert "has finished its 45 steps" in over.stdout


def test_mend_the_cause_and_go_on(tmp_path: Path) -> None:
    write_trainer(tmp_path)
    ladder = [{"action": "lower_lr", "attempts": 1}, {"action": "halt"}]
    policy = {"ladder": ladder, "experiments": None}
    config = {"fault": "nan", "at": 12}
    write_job(tmp_path, trainer="mine:Tiny", steps=30, run_dir="run", device="cpu", policy=policy, config=config)
    run = tmp_path / "run"
    assert supervise("run", "job.yaml", cwd=tmp_path).returncode == 3
    for again in (["run", "job.yaml", "--resume"], ["run", "job.yaml", "--auto-resume"], ["resume", "run"]):
        refused = ask(*again, cwd=tmp_path)
        assert refused.returncode == 3
        assert "was halted by this policy in incident 1 (nonfinite_loss" in refused.stdout
        assert "goes on with --after-halt" in refused.stdout
    # The mend: in the trainer's code, for the job stays what it was.
    trainer = tmp_path / "mine.py"
    trainer.write_text(trainer.read_text().replace('if fault == "nan"', 'if fault == "mended"'))
    mended = supervise("resume", "run", "--after-halt", cwd=tmp_path)
    assert mended.returncode == 0, mended.stderr
    assert named(run, "run_finished")[-1].summary.lr_scale == 1.0
    assert named(run, "run_resumed")[-1].after_halt
    assert checkpoints(run)[-1].name == "step-00000030"
