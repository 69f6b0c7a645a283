from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.page_runs import HOSTILE, eventful
from typer.testing import CliRunner

from supervisor.cli import report_command
from supervisor.cli.app import app
from supervisor.errors import InputError


def report(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["report", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_page_goes_into_the_run_directory_and_nothing_else_changes(tmp_path: Path) -> None:
    eventful(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    said = report(str(tmp_path))
    page = tmp_path / "report.html"
    assert said.startswith(f"{page}: ")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and path != page}
    assert after == before


def test_it_goes_elsewhere_and_replaces_what_was_there(tmp_path: Path) -> None:
    eventful(tmp_path / "run")
    page = tmp_path / "new" / "mine.html"
    report(str(tmp_path / "run"), "-o", str(page))
    page.write_text("older")
    report(str(tmp_path / "run"), "-o", str(page))
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [each.name for each in page.parent.iterdir()] == ["mine.html"]
    assert not (tmp_path / "run" / "report.html").exists()


def test_to_the_standard_output_as_bytes_of_utf_8(tmp_path: Path) -> None:
    eventful(tmp_path / "run", HOSTILE)
    command = [sys.executable, "-m", "supervisor", "report", str(tmp_path / "run"), "-o", "-"]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.stdout.decode("utf-8").rstrip().endswith("</html>")
    assert "🧨".encode() in done.stdout


def test_several_runs_are_compared(tmp_path: Path) -> None:
    for name in ("a", "b"):
        eventful(tmp_path / name)
    report(str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "both.html"))
    assert "<h1>2 runs compared</h1>" in (tmp_path / "both.html").read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    eventful(tmp_path / "run")
    (tmp_path / "file").write_text("x")
    for target, said in ((tmp_path, "is a folder"), (tmp_path / "file" / "page.html", "cannot be written")):
        done = CliRunner().invoke(app, ["report", str(tmp_path / "run"), "-o", str(target)])
        assert isinstance(done.exception, InputError)
        assert str(done.exception).startswith(f"{target}: {said}")


def test_what_is_no_run_is_bad_input(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert isinstance(done.exception, InputError)
    assert not (tmp_path / "report.html").exists()


def test_a_long_log_is_told_of_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    eventful(tmp_path)
    monkeypatch.setattr(report_command, "LONG_LOG", 1)
    monkeypatch.setattr(sys, "stderr", said := io.StringIO())
    report_command.report([str(tmp_path)], str(tmp_path / "page.html"))
    assert said.getvalue().startswith("reading 0 MB of events")
    assert capsys.readouterr().out.startswith(str(tmp_path / "page.html"))


def test_other_commands_do_without_the_page_and_its_packages() -> None:
    script = (
        "import sys, supervisor.cli.app\n"
        "found = [n for n in ('jinja2', 'plotly', 'supervisor.page.building', 'torch') if n in sys.modules]\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_device_stays_one(tmp_path: Path) -> None:
    eventful(tmp_path / "run")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match=r"cannot be written \(a device or a pipe, no file\): write -o FILE\.html"):
        report(str(tmp_path / "run"), "-o", str(pipe))
    assert pipe.is_fifo()
