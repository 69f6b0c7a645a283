"""The address of a webhook: found where the job says it is, and kept where few can read it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.job import ResolvedJob, dump_job, load_job, webhook_address
from supervisor.run_layout import RunLayout

SECRET = "https://hooks.example.com/services/T0/SECRET"


def job(tmp_path: Path, webhook: str) -> ResolvedJob:
    path = tmp_path / "job.yaml"
    path.write_text(f"trainer: mine:Tiny\nsteps: 5\nsinks:\n  webhook: {webhook}\n")
    return load_job(str(path), run_dir=str(tmp_path / "run"))


def of_run(resolved: ResolvedJob) -> ResolvedJob:
    """The job as a resume finds it in the run directory."""
    layout = RunLayout(resolved.run_dir)
    dump_job(resolved, layout.root)
    layout.policy.write_text("version: 1\n")
    return load_job(str(layout.job), run_dir=str(layout.root))


def test_from_the_job_itself(tmp_path: Path) -> None:
    assert webhook_address(job(tmp_path, f"{{url: '{SECRET}'}}")) == SECRET


def test_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = job(tmp_path, "{url_env: HOOK}")
    monkeypatch.delenv("HOOK", raising=False)
    with pytest.raises(InputError, match=r"job.yaml:4: sinks.webhook.url_env: the variable HOOK is not set .*: set it"):
        webhook_address(resolved)
    monkeypatch.setenv("HOOK", f"{SECRET}\n")
    assert webhook_address(resolved) == SECRET
    monkeypatch.setenv("HOOK", "hooks.example.com/SECRET")
    with pytest.raises(InputError, match="HOOK holds no address of a webhook") as raised:
        webhook_address(resolved)
    assert "SECRET" not in str(raised.value)


def test_from_a_file_beside_the_job(tmp_path: Path) -> None:
    resolved = job(tmp_path, "{url_file: hook.url}")
    with pytest.raises(InputError, match=r"sinks.webhook.url_file: the file .*hook.url cannot be read \(No such file"):
        webhook_address(resolved)
    (tmp_path / "hook.url").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"cannot be read \(not text\)"):
        webhook_address(resolved)
    (tmp_path / "hook.url").write_text(f"{SECRET}\n")
    assert webhook_address(resolved) == SECRET
    assert webhook_address(of_run(resolved)) == SECRET


def test_without_a_webhook_there_is_none(tmp_path: Path) -> None:
    assert webhook_address(job(tmp_path, "false")) is None


def test_the_job_of_a_run_directory_does_not_hold_it_and_a_resume_finds_it(tmp_path: Path) -> None:
    resolved = job(tmp_path, f"{{url: '{SECRET}'}}")
    again = of_run(resolved)
    layout = RunLayout(resolved.run_dir)
    assert "SECRET" not in layout.job.read_text()
    assert stat.S_IMODE(layout.webhook_url.stat().st_mode) == 0o600
    assert webhook_address(again) == SECRET
    # A resume writes the job anew, and the directory may have been moved before.
    assert webhook_address(of_run(again)) == SECRET
    moved = layout.root.rename(tmp_path / "moved")
    assert webhook_address(load_job(str(moved / "job.yaml"), run_dir=str(moved))) == SECRET
    holding = [path for path in moved.rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]
    assert holding == [RunLayout(moved).webhook_url]


def test_one_in_the_environment_is_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", SECRET)
    resolved = job(tmp_path, "{url_env: HOOK}")
    assert webhook_address(of_run(resolved)) == SECRET
    assert not RunLayout(resolved.run_dir).webhook_url.exists()
