"""The commands: what each hands on, what it prints, and how the command line ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from support.command import write_job
from support.one_incident import INCIDENT, PLACE
from typer.testing import CliRunner

from supervisor import rehearsal
from supervisor.cli import app as commands
from supervisor.cli.app import app, main
from supervisor.errors import ExitCode, InputError
from supervisor.events import EventLog, schema
from supervisor.events.narration import describe_event
from supervisor.events.owner_file import claim
from supervisor.faults import FaultScript
from supervisor.job import ResolvedJob
from supervisor.policy import RecoveryPolicy, resolved_yaml
from supervisor.process import parent
from supervisor.records import ActionName, Outcome, SignalName
from supervisor.rehearsal import Score
from supervisor.rehearsal.score import score
from supervisor.report.status import read_status
from supervisor.run_layout import INCIDENT_FILE, RunLayout, replace_file
from supervisor.testing.clock import FakeClock
from supervisor.version import __version__

RUNNER = CliRunner()


def said(*arguments: str) -> str:
    done = RUNNER.invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


class Parent:
    """Ends as it is told to, and remembers what it was given."""

    code = ExitCode.FINISHED
    given: tuple[ResolvedJob, bool]
    how: tuple[bool, bool]

    def __init__(self, resolved: ResolvedJob, *, resume: bool, auto_resume: bool, after_halt: bool) -> None:
        type(self).given = (resolved, resume)
        type(self).how = (auto_resume, after_halt)

    def run(self) -> ExitCode:
        return self.code


@pytest.mark.parametrize("code", list(ExitCode))
def test_run_ends_with_the_code_of_the_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: ExitCode) -> None:
    monkeypatch.setattr(parent, "Parent", Parent)
    monkeypatch.setattr(Parent, "code", code)
    job = str(write_job(tmp_path, trainer="mine:Tiny", steps=20, run_dir="run"))
    assert RUNNER.invoke(app, ["run", job]).exit_code == code
    assert (Parent.given[0].job.steps, Parent.given[1]) == (20, False)


def test_flags_of_run_change_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "Parent", Parent)
    monkeypatch.chdir(tmp_path)
    write_job(tmp_path, trainer="mine:Tiny", steps=20, run_dir="run")
    (tmp_path / "p.yaml").write_text("probation_steps: 9\n")
    flags = ["--policy", "p.yaml", "--run-dir", "other", "--steps", "30", "--resume"]
    said("run", "job.yaml", *flags, "--set", "seed=4", "--set", "policy.cooldown_steps=5")
    resolved, resume = Parent.given
    assert (resolved.run_dir, resolved.job.steps, resolved.job.seed, resume) == (tmp_path / "other", 30, 4, True)
    assert (resolved.policy.probation_steps, resolved.policy.cooldown_steps) == (9, 5)


def test_how_a_run_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "Parent", Parent)
    job = str(write_job(tmp_path, trainer="mine:Tiny", steps=20, run_dir="run"))
    said("run", job)
    assert Parent.how == (False, False)
    said("run", job, "--auto-resume")
    assert Parent.how == (True, False)
    said("run", job, "--resume", "--after-halt")
    assert Parent.how == (False, True)
    refused = RUNNER.invoke(app, ["run", job, "--after-halt"])
    assert "--after-halt: goes with --resume or --auto-resume" in str(refused.exception)


def test_status(run_dir: str) -> None:
    assert "finished" in said("status", run_dir)
    assert json.loads(said("status", run_dir, "--json")) == json.loads(read_status(Path(run_dir)).model_dump_json())


def test_status_for_probes(run_dir: str, tmp_path: Path) -> None:
    assert said("status", run_dir, "--healthy").strip() == "finished"
    assert said("status", run_dir, "--healthy", "--max-age", "0.5").strip() == "finished"
    assert json.loads(said("status", run_dir, "--healthy", "--json"))["state"] == "finished"
    log = RunLayout(Path(run_dir)).rank_events
    log.write_text("".join(line for line in log.read_text().splitlines(keepends=True) if "run_finished" not in line))
    claim(RunLayout(Path(run_dir)).lock)
    assert said("status", run_dir, "--healthy").strip() == "running"
    assert RUNNER.invoke(app, ["status", run_dir, "--healthy", "--max-age", "0"]).exit_code == 1
    claims = "import sys; from pathlib import Path; from supervisor.events.owner_file import claim; "
    RunLayout(Path(run_dir)).lock.unlink()
    lock = str(RunLayout(Path(run_dir)).lock)
    subprocess.run([sys.executable, "-c", f"{claims}claim(Path(sys.argv[1]))", lock], check=True)
    found = RUNNER.invoke(app, ["status", run_dir, "--healthy"])
    assert found.exit_code == 1
    assert found.stdout.startswith("dead: ended without a word")
    assert RUNNER.invoke(app, ["status", str(tmp_path / "gone"), "--healthy"]).exit_code == 1
    refused = RUNNER.invoke(app, ["status", run_dir, "--max-age", "5"])
    assert isinstance(refused.exception, InputError)


def test_events(run_dir: str) -> None:
    log = RunLayout(Path(run_dir)).rank_events.read_text()
    assert said("events", run_dir, "--json") == log
    assert said("events", run_dir, "--json", "--follow") == log
    lines = [describe_event(schema.parse_event(line)) for line in log.splitlines()]
    assert said("events", run_dir).splitlines() == lines
    assert said("events", run_dir, "--event", "decision").splitlines() == [lines[3]]


def test_all_lines_of_a_log_are_shown_where_that_is_asked_for(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path / "run")
    with EventLog(layout.rank_events, "r", 0, FakeClock(tick_seconds=1)) as log:
        log.emit(schema.RunStartedEvent(steps=20))
        log.emit(schema.WarningEvent(step=9, update=9, message="of a step that is done again"))
        log.emit(schema.RunResumedEvent(step=5, update=5, checkpoint_step=5, path="checkpoints/step-00000005"))
    run = str(layout.root)
    assert "done again" not in said("events", run)
    assert "done again" in said("events", run, "--all")
    assert isinstance(RUNNER.invoke(app, ["events", run, "--all", "--follow"]).exception, InputError)


def test_replay(run_dir: str, tmp_path: Path) -> None:
    policy = tmp_path / "p.yaml"
    policy.write_text("ladder: [{action: halt}]\n")
    plain = json.loads(said("replay", run_dir, "--policy", str(policy), "--json"))
    assert plain
    assert "halt" in said("replay", run_dir, "--policy", str(policy))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["run", "nowhere.yaml"], r"nowhere\.yaml: no such file"),
        (["status", "nowhere"], "nowhere: no such run directory"),
        (["events", "nowhere"], "nowhere: no such run directory"),
        (["events", "RUN", "--event", "foo"], "--event foo: there is no event of this name: write one of .*decision"),
        (["events", "RUN", "--event", "odd_update"], "it is a signal: write --event signal"),
        (["explain", __file__], "is a file: name the folder"),
        (["explain", "RUN", "9"], "there is no incident 9"),
        (["explain", "RUN", "--replay"], "--replay: say which incident"),
        (["replay", "RUN", "--policy", "nowhere.yaml"], r"nowhere\.yaml: no such file"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_raised_before_anything_is_printed(run_dir: str, arguments: list[str], what: str) -> None:
    done = RUNNER.invoke(app, [run_dir if each == "RUN" else each for each in arguments])
    assert isinstance(done.exception, InputError)
    assert done.stdout == ""
    with pytest.raises(InputError, match=what):
        raise done.exception


LOOK = """
import sys
from supervisor.cli.app import app
app(["status", sys.argv[1]], standalone_mode=False)
print([name for name in sys.argv[2:] if name in sys.modules], file=sys.stderr)
"""
UNWANTED = (
    *("torch", "numpy", "structlog", "yaml", "rich.live", "rich.progress", "plotly", "bokeh", "altair", "asyncio"),
    *(f"supervisor.{name}" for name in ("policy", "job", "process", "live", "replay", "rehearsal", "preflight")),
)


def test_a_look_at_a_run_waits_for_nothing_that_it_does_not_need(run_dir: str) -> None:
    """It takes a quarter of a second; each of these would take a tenth or more on top of it."""
    command = [sys.executable, "-c", LOOK, run_dir, *UNWANTED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "state" in done.stdout
    assert done.stderr == "[]\n"


def ended(raising: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> object:
    """What the command line ends with where a command does this."""
    monkeypatch.setattr(commands, "app", raising)
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code


def throw(error: BaseException) -> Callable[[], object]:
    def raising() -> object:
        raise error

    return raising


def test_a_mistake_of_the_users_ends_in_its_lines_and_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(throw(InputError("a.yaml:1: no", "a.yaml:2: no")), monkeypatch) == 2
    assert capsys.readouterr().err == "a.yaml:1: no\na.yaml:2: no\n"


def test_ctrl_c_ends_as_a_shell_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(throw(KeyboardInterrupt()), monkeypatch) == 130


def test_an_output_that_cannot_be_written_ends_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # What is printed afterwards goes nowhere, so this standard output is not that of the test.
    with Path(os.devnull).open("w") as nowhere, monkeypatch.context() as own:
        own.setattr(sys, "stdout", nowhere)
        assert ended(throw(OSError(28, "No space left on device")), monkeypatch) == 1
    assert capfd.readouterr().err == "supervisor: No space left on device\n"


class Rehearsal:
    """Ends as it is told to, and remembers what it was given."""

    outcome: tuple[ExitCode, Score | None] = (ExitCode.FINISHED, None)
    given: tuple[ResolvedJob, str | None, str | None]

    def __init__(self, resolved: ResolvedJob, faults: str | None, reference: str | None) -> None:
        type(self).given = (resolved, faults, reference)

    def run(self, say: Callable[[str], object]) -> tuple[ExitCode, Score | None]:
        say("Rehearsal: 20 steps")
        return self.outcome


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rehearsal, "Rehearsal", Rehearsal)
    monkeypatch.setattr(Rehearsal, "outcome", (ExitCode.FINISHED, score((), (), ())))
    write_job(tmp_path, trainer="mine:Tiny", steps=20, run_dir="runs/mine")
    alone = typer.Typer()
    alone.command()(commands.rehearse)
    return alone


def test_without_a_directory_it_goes_beside_that_of_the_job(command: typer.Typer, tmp_path: Path) -> None:
    done = RUNNER.invoke(command, ["job.yaml"])
    assert done.exit_code == 0
    resolved, faults, reference = Rehearsal.given
    assert (resolved.run_dir, faults, reference) == (tmp_path / "runs" / "mine-rehearsal", None, None)
    assert "Rehearsal: 20 steps" in done.stdout


def test_flags_are_handed_on(command: typer.Typer, tmp_path: Path) -> None:
    flags = ["--faults", "f.yaml", "--run-dir", "out", "--reference", "ref", "--steps", "9", "--set", "seed=4"]
    assert RUNNER.invoke(command, ["job.yaml", *flags]).exit_code == 0
    resolved, faults, reference = Rehearsal.given
    assert (resolved.run_dir, faults, reference) == (tmp_path / "out", "f.yaml", "ref")
    assert (resolved.job.steps, resolved.job.seed) == (9, 4)


@pytest.mark.parametrize("code", [ExitCode.FINISHED, ExitCode.HALTED, ExitCode.BAD_INPUT])
def test_the_code_is_that_of_the_run_with_the_faults(
    command: typer.Typer, monkeypatch: pytest.MonkeyPatch, code: ExitCode
) -> None:
    monkeypatch.setattr(Rehearsal, "outcome", (code, None))
    done = RUNNER.invoke(command, ["job.yaml"])
    assert (done.exit_code, done.stdout) == (code, "\nRehearsal: 20 steps\n")


def test_for_machines_there_is_nothing_on_stdout_but_the_score(
    command: typer.Typer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    faults = FaultScript.model_validate({"faults": [{"kind": "nan_batch", "at_batch": 3}]}).faults
    found = score(faults, (), ())
    monkeypatch.setattr(Rehearsal, "outcome", (ExitCode.FINISHED, found))
    # The standard output of a test is no file descriptor, and that is what the runs' workers print to.
    with open(1, "w", closefd=False) as stdout, monkeypatch.context() as own:
        own.setattr(sys, "stdout", stdout)
        with pytest.raises(SystemExit) as ended:
            command(["job.yaml", "--json"])
    assert ended.value.code == 0
    told = capfd.readouterr()
    assert json.loads(told.out) == json.loads(found.model_dump_json())
    assert "Rehearsal: 20 steps" in told.err


def test_for_people_the_score_is_a_table_that_breaks_no_word(
    command: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = FaultScript.model_validate({"faults": [{"kind": "nan_batch", "at_batch": 3}]}).faults
    monkeypatch.setattr(Rehearsal, "outcome", (ExitCode.FINISHED, score(faults, (), ())))
    monkeypatch.setenv("COLUMNS", "20")
    assert "nan_batch" in RUNNER.invoke(command, ["job.yaml"]).stdout


HOSTILE = "\x1b[2J\x1b]0;title\x07\r\x00\u202e\x9b" + "y" * 2_000_000


@pytest.fixture
def hostile_run(tmp_path: Path) -> str:
    """A run of which every text was written by somebody who means ill, or who does not look at what he writes."""
    layout = RunLayout(tmp_path / "hostile")
    with EventLog(layout.rank_events, "r", 0, FakeClock(tick_seconds=1)) as log:
        log.emit(schema.RunStartedEvent(steps=20, trainer=HOSTILE))
        log.emit(schema.WarningEvent(step=1, update=1, message=HOSTILE))
        log.emit(
            schema.SignalEvent.model_validate({**PLACE, "signal": SignalName.STEP_EXCEPTION, "exception": HOSTILE})
        )
        log.emit(schema.IncidentOpenedEvent(**PLACE, incident=1, signals=(SignalName.STEP_EXCEPTION,)))
        log.emit(schema.QuarantinedEvent(**PLACE, incident=1, dataset_indices=(HOSTILE,)))
        halt = {**PLACE, "incident": 1, "action": ActionName.HALT}
        log.emit(schema.DecisionEvent(**halt, rung=0, attempt=1, reason=HOSTILE))
        log.emit(schema.ActionAppliedEvent(**halt, seconds=0.1))
        log.emit(schema.RunHaltedEvent(**PLACE, reason=HOSTILE))
    record = INCIDENT.model_copy(update={"outcome": Outcome.HALTED, "not_known": HOSTILE, "traceback": HOSTILE})
    replace_file(layout.incident(1) / INCIDENT_FILE, record.model_dump_json())
    replace_file(layout.policy, resolved_yaml(RecoveryPolicy()))
    return str(layout.root)


@pytest.mark.parametrize("command", ["status", "events", "explain", "explain 1", "runs"])
def test_what_others_have_written_is_shown_cut_and_clean(command: str, hostile_run: str) -> None:
    name, *more = command.split()
    done = RUNNER.invoke(app, [name, hostile_run, *more])
    assert done.exit_code == 0, done.output
    assert done.output.replace("\n", "").isprintable()
    if command != "explain 1":
        assert len(done.output) < 40_000
    if command != "runs":
        assert "\\x1b[2J\\x1b]0;title" in done.output


@pytest.mark.parametrize("command", ["status", "events", "explain", "explain 1", "runs"])
def test_as_json_it_is_whole_and_clean(command: str, hostile_run: str) -> None:
    name, *more = command.split()
    done = RUNNER.invoke(app, [name, hostile_run, *more, "--json"])
    assert done.exit_code == 0, done.output
    assert done.output.replace("\n", "").isprintable()
    read = [json.loads(line) for line in done.output.splitlines()] if name == "events" else json.loads(done.output)
    assert read
    assert name == "runs" or "y" * 2_000_000 in done.output


def test_the_version_is_said() -> None:
    done = RUNNER.invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"supervisor {__version__}\n")


def test_the_shell_can_complete_commands() -> None:
    env = {"_SUPERVISOR_COMPLETE": "complete_bash", "COMP_WORDS": "supervisor sta", "COMP_CWORD": "1"}
    done = RUNNER.invoke(app, [], env=env, prog_name="supervisor")
    assert "status" in done.output.split()
