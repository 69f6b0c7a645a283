"""What the parent does with the ends of its workers; the workers here are told how they end."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.whole_checkpoints import write_checkpoint

from supervisor.errors import ExitCode, InputError
from supervisor.events import EventLog, RunStatus, RunSummary, read_events
from supervisor.events.schema import ExitClassification, RunFinishedEvent, WarningEvent, WorkerRestartingEvent
from supervisor.job import ResolvedJob
from supervisor.process import parent
from supervisor.process.exits import WorkerEnd
from supervisor.process.heartbeat import Phase, Pulse
from supervisor.process.parent import Parent
from supervisor.process.spec import WorkerSpec
from supervisor.run_layout import RunLayout
from supervisor.sinks.choice import NEEDS, Needs
from supervisor.testing.clock import FakeClock

Resolve = Callable[..., ResolvedJob]

FINISHED = WorkerEnd(0, ExitClassification.FINISHED, code=ExitCode.FINISHED)
KILLED = WorkerEnd(-signal.SIGKILL, ExitClassification.KILLED)
CRASHED = WorkerEnd(1, ExitClassification.EXCEPTION, "Traceback\nValueError: no such luck")
BAD_INPUT = WorkerEnd(2, ExitClassification.BAD_INPUT, code=ExitCode.BAD_INPUT)
INTERRUPTED = WorkerEnd(75, ExitClassification.INTERRUPTED, code=ExitCode.INTERRUPTED)
IN_EVALUATE = WorkerEnd(-signal.SIGSEGV, ExitClassification.KILLED, pulse=Pulse(9, 19, 0.1, Phase.FINISHING))

RESTARTS = {"restart": {"max_restarts": 2, "window_seconds": 1000, "backoff_initial_seconds": 4}}


class Workers:
    """Starts workers that end as they are told to, in order.

    Attributes:
        ends: how each ends.
        lives: what each does before, by its number from 0.
        specs: what each was started with.
        restarts: the restarts that each was told of.
        stopped: the signals that were passed on.
        continued: how often they were told that the parent goes on after a stop.
    """

    def __init__(self) -> None:
        self.ends: list[WorkerEnd] = []
        self.lives: dict[int, Callable[[], object]] = {}
        self.specs: list[WorkerSpec] = []
        self.restarts: list[int] = []
        self.stopped: list[int] = []
        self.continued = 0

    def start(self, spec: WorkerSpec, *_: Any, restarts: int) -> Workers:
        self.specs.append(spec)
        self.restarts.append(restarts)
        return self

    def wait(self) -> WorkerEnd:
        number = len(self.specs) - 1
        self.lives.get(number, lambda: None)()
        return self.ends[number]

    def stop(self, number: int) -> None:
        self.stopped.append(number)

    def go_on(self) -> None:
        self.continued += 1

    @property
    def stacks(self) -> None:
        return None


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    found = Workers()
    monkeypatch.setattr(parent, "WorkerProcess", found.start)
    return found


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path / "run")


def test_a_worker_that_finishes(resolve: Resolve, workers: Workers, layout: RunLayout) -> None:
    workers.ends = [FINISHED]
    assert Parent(resolve(), clock=FakeClock()).run() is ExitCode.FINISHED
    (spec,) = workers.specs
    assert (spec.layout, spec.resume) == (layout, False)
    assert layout.job.is_file()
    assert layout.policy.is_file()
    assert not layout.incidents.exists()


def test_a_directory_that_was_removed_meanwhile_gets_its_job_again(
    resolve: Resolve, workers: Workers, layout: RunLayout
) -> None:
    """So that what was written since can be gone on with."""
    workers.ends = [FINISHED]
    workers.lives = {0: lambda: shutil.rmtree(layout.root)}
    assert Parent(resolve(), clock=FakeClock()).run() is ExitCode.FINISHED
    assert layout.job.is_file()
    assert layout.policy.is_file()


def test_a_row_that_ends_two_workers_is_listed_before_the_next_one_and_no_reason_to_give_up(
    resolve: Resolve, workers: Workers, layout: RunLayout
) -> None:
    several, one = (replace(CRASHED, rows=rows) for rows in ((16, 17), (17,)))
    workers.ends = [several, one, replace(one, rows=(18,)), FINISHED]
    listed: list[bool] = []
    workers.lives = {number: lambda: listed.append(layout.deadly_rows.exists()) for number in range(4)}
    assert Parent(resolve(), clock=FakeClock()).run() is ExitCode.FINISHED
    assert listed == [False, False, True, True]
    assert [spec.one_by_one for spec in workers.specs] == [(), (16, 17), (), (18,)]
    assert layout.deadly_rows.read_text().count("\n") == 1


def test_one_that_dies_is_started_again_after_a_pause_that_grows(
    resolve: Resolve, workers: Workers, layout: RunLayout
) -> None:
    workers.ends = [KILLED, CRASHED, FINISHED]
    clock = FakeClock()
    starts: list[float] = []
    workers.lives = {number: lambda: starts.append(clock.monotonic()) for number in range(3)}
    assert Parent(resolve(policy=RESTARTS), clock=clock).run() is ExitCode.FINISHED
    assert workers.restarts == [0, 1, 2]
    first, second = starts[1] - starts[0], starts[2] - starts[1]
    assert 4 <= first <= 8
    assert 8 <= second <= 12
    assert layout.process_incident_numbers() == [1, 2]
    assert len({spec.run_id for spec in workers.specs}) == 1


def test_the_budget_ends_it_and_a_resume_does_not_buy_more(
    resolve: Resolve, workers: Workers, layout: RunLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    workers.ends = [KILLED, KILLED, CRASHED]
    clock = FakeClock()
    assert Parent(resolve(policy=RESTARTS), clock=clock).run() is ExitCode.RESTARTS_SPENT
    said = (
        "the restart budget is spent: the worker died 3 times within 1000 s (2 restarts are allowed), "
        "last by exit code 1; last: ValueError: no such luck; "
        "once the cause is mended, --resume --after-halt goes on with a fresh budget"
    )
    assert capsys.readouterr().err == f"supervisor: {said}\n"
    assert said in layout.parent_events.read_text()

    assert Parent(resolve(policy=RESTARTS), resume=True, clock=clock).run() is ExitCode.RESTARTS_SPENT
    assert len(workers.specs) == 3
    again = capsys.readouterr().err
    assert "the restart budget is spent already: 3 failures within 1000 s" in again
    assert "--after-halt" in again

    clock.advance(1000)
    workers.ends.append(FINISHED)
    assert Parent(resolve(policy=RESTARTS), resume=True, clock=clock).run() is ExitCode.FINISHED


def test_somebody_who_has_mended_the_cause_is_given_a_fresh_budget(
    resolve: Resolve, workers: Workers, layout: RunLayout
) -> None:
    workers.ends = [KILLED] * 6 + [FINISHED]
    workers.lives = {0: lambda: (layout.checkpoints / "step-00000010").mkdir(parents=True)}
    clock = FakeClock()
    assert Parent(resolve(policy=RESTARTS), clock=clock).run() is ExitCode.RESTARTS_SPENT
    assert Parent(resolve(policy=RESTARTS), resume=True, after_halt=True, clock=clock).run() is ExitCode.RESTARTS_SPENT
    assert workers.restarts == [0, 1, 2, 0, 1, 2]
    # Each is told, so that one that dies before it has taken the halt back leaves that to the next.
    assert [spec.after_halt for spec in workers.specs] == [False] * 3 + [True] * 3
    assert Parent(resolve(policy=RESTARTS), resume=True, after_halt=True, clock=clock).run() is ExitCode.FINISHED


def test_settings_that_differ_are_said_by_the_first_worker_alone(
    resolve: Resolve, workers: Workers, layout: RunLayout
) -> None:
    workers.ends = [INTERRUPTED, KILLED, FINISHED]
    workers.lives = {0: lambda: (layout.checkpoints / "step-00000010").mkdir(parents=True)}
    Parent(resolve(), clock=FakeClock()).run()
    more = Parent(resolve(steps=30, log_every_steps=5), resume=True, clock=FakeClock())
    assert more.run() is ExitCode.FINISHED
    changes = ("steps (20, now 30)", "log_every_steps (20, now 5)")
    assert [spec.changes for spec in workers.specs] == [(), changes, ()]


class TestAutoResume:
    def test_it_starts_a_run_and_goes_on_with_one_that_has_begun(
        self, resolve: Resolve, workers: Workers, layout: RunLayout
    ) -> None:
        workers.ends = [INTERRUPTED, FINISHED]
        workers.lives = {0: lambda: (layout.checkpoints / "step-00000010").mkdir(parents=True)}
        assert Parent(resolve(), auto_resume=True, clock=FakeClock()).run() is ExitCode.INTERRUPTED
        assert Parent(resolve(), auto_resume=True, clock=FakeClock()).run() is ExitCode.FINISHED
        assert [spec.resume for spec in workers.specs] == [False, True]

    def test_what_a_start_left_that_never_began_is_no_run(
        self, resolve: Resolve, workers: Workers, layout: RunLayout
    ) -> None:
        """Another job may stand there now: nothing of the first was trained."""
        workers.ends = [KILLED, KILLED, KILLED, FINISHED]
        clock = FakeClock()
        assert Parent(resolve(policy=RESTARTS), clock=clock).run() is ExitCode.RESTARTS_SPENT
        layout.job.with_name(".job.yaml").touch()
        # The budget stays: a pod that is started again and again must not have a new one each time.
        mended = resolve(seed=7, policy=RESTARTS)
        assert Parent(mended, auto_resume=True, clock=clock).run() is ExitCode.RESTARTS_SPENT
        clock.advance(1000)
        assert Parent(mended, auto_resume=True, clock=clock).run() is ExitCode.FINISHED
        assert workers.specs[-1].job.seed == 7
        assert not workers.specs[-1].resume

    def test_a_directory_that_holds_something_else_is_refused(
        self, resolve: Resolve, workers: Workers, layout: RunLayout
    ) -> None:
        layout.root.mkdir()
        (layout.root / "thesis.tex").touch()
        with pytest.raises(InputError, match=r"holds something already \(thesis\.tex\)"):
            Parent(resolve(), auto_resume=True)

    def test_another_job_in_a_run_that_has_begun_is_refused(
        self, resolve: Resolve, workers: Workers, layout: RunLayout
    ) -> None:
        workers.ends = [INTERRUPTED]
        workers.lives = {0: lambda: (layout.checkpoints / "step-00000010").mkdir(parents=True)}
        Parent(resolve(), clock=FakeClock()).run()
        with pytest.raises(InputError, match=r"was started with another seed \(0, now 7\)"):
            Parent(resolve(seed=7), auto_resume=True)


BUILT_NOT = WorkerEnd(
    1, ExitClassification.EXCEPTION, 'Traceback (most recent call last):\n  File "mine.py", line 7\nKeyError: 1'
)


def test_a_trainer_that_raises_twice_alike_is_a_mistake_and_leaves_nothing(
    resolve: Resolve, workers: Workers, layout: RunLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    workers.ends = [BUILT_NOT, BUILT_NOT]
    assert Parent(resolve(), clock=FakeClock()).run() is ExitCode.BAD_INPUT
    assert len(workers.specs) == 2
    assert capsys.readouterr().err.startswith("supervisor: mine.py:7: KeyError: 1: raised while the trainer was built")
    assert not layout.root.exists()


def test_of_a_run_that_is_gone_on_with_it_leaves_the_record(
    resolve: Resolve, workers: Workers, layout: RunLayout
) -> None:
    workers.lives = {0: lambda: (layout.checkpoints / "step-00000010").mkdir(parents=True)}
    workers.ends = [INTERRUPTED, BUILT_NOT, BUILT_NOT]
    Parent(resolve(), clock=FakeClock()).run()
    assert Parent(resolve(), resume=True, clock=FakeClock()).run() is ExitCode.BAD_INPUT
    assert "mine.py:7: KeyError: 1" in layout.parent_events.read_text()
    assert (layout.checkpoints / "step-00000010").is_dir()


def test_the_same_death_three_times_over_ends_it_before_the_budget_does(
    resolve: Resolve, workers: Workers, layout: RunLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    workers.ends = [KILLED] * 3
    assert Parent(resolve(), clock=FakeClock()).run() is ExitCode.RESTARTS_SPENT
    assert len(workers.specs) == 3
    said = capsys.readouterr().err
    assert "died 3 times in a row before the first step of the run (SIGKILL)" in said
    assert said.removeprefix("supervisor: ").strip() in layout.parent_events.read_text()


def test_a_job_that_the_worker_refuses_leaves_nothing(resolve: Resolve, workers: Workers, tmp_path: Path) -> None:
    workers.ends = [BAD_INPUT]
    assert Parent(resolve(run_dir="deep/run"), clock=FakeClock()).run() is ExitCode.BAD_INPUT
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_the_next_one_goes_on_from_a_checkpoint_or_begins_anew(
    resolve: Resolve, workers: Workers, layout: RunLayout, has_checkpoint: bool
) -> None:
    def live() -> None:
        layout.rank_events.write_text('{"event":"run_started"}\n')
        if has_checkpoint:
            (layout.checkpoints / "step-00000010").mkdir(parents=True)

    there: list[bool] = []
    workers.lives = {0: live, 1: lambda: there.append(layout.rank_events.exists())}
    workers.ends = [KILLED, FINISHED]
    assert Parent(resolve(), clock=FakeClock()).run() is ExitCode.FINISHED
    assert [spec.resume for spec in workers.specs] == [False, has_checkpoint]
    assert there == [has_checkpoint]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_to_the_worker(resolve: Resolve, workers: Workers, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    workers.lives = {0: lambda: signal.raise_signal(number)}
    workers.ends = [INTERRUPTED]
    assert Parent(resolve(), clock=FakeClock()).run() is ExitCode.INTERRUPTED
    assert workers.stopped == [number]
    assert signal.getsignal(number) is before


def test_a_parent_that_was_stopped_and_goes_on_tells_the_worker(resolve: Resolve, workers: Workers) -> None:
    before = signal.getsignal(signal.SIGCONT)
    workers.lives = {0: lambda: signal.raise_signal(signal.SIGCONT)}
    workers.ends = [FINISHED]
    assert Parent(resolve(), clock=FakeClock()).run() is ExitCode.FINISHED
    assert (workers.continued, workers.stopped) == (1, [])
    assert signal.getsignal(signal.SIGCONT) is before


def test_how_long_it_waits_before_the_next_one_is_on_record(
    resolve: Resolve, workers: Workers, layout: RunLayout
) -> None:
    workers.ends = [KILLED, FINISHED]
    clock = FakeClock()
    Parent(resolve(policy=RESTARTS), clock=clock).run()
    (waits,) = [event for event in read_events(layout.root) if isinstance(event, WorkerRestartingEvent)]
    assert waits.seconds == pytest.approx(sum(clock.sleeps))


@pytest.mark.parametrize("saved", [True, False])
def test_a_signal_in_a_pause_starts_no_other_worker(
    resolve: Resolve, workers: Workers, layout: RunLayout, saved: bool
) -> None:
    """It is as interrupted as any, if there is something to go on from."""
    workers.ends = [KILLED]
    if saved:
        workers.lives = {0: lambda: write_checkpoint(layout.checkpoints, 10)}
    clock = FakeClock(on_sleep=lambda _: signal.raise_signal(signal.SIGTERM))
    expected = ExitCode.INTERRUPTED if saved else ExitCode.UNSAVED
    assert Parent(resolve(policy=RESTARTS), clock=clock).run() is expected
    assert len(workers.specs) == 1
    assert len(clock.sleeps) == 1


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ((), "there is no checkpoint to go on from: start it anew"),
        ((10, 20), "--resume goes on from checkpoints/step-00000010; what came after it is lost"),
    ],
    ids=["nothing", "the newest that is whole"],
)
def test_a_worker_that_dies_of_being_stopped_is_no_failure(
    resolve: Resolve,
    workers: Workers,
    layout: RunLayout,
    capsys: pytest.CaptureFixture[str],
    saved: tuple[int, ...],
    said: str,
) -> None:
    """Its last state is lost with it, and what there is to go on from is named."""

    def live() -> None:
        for step in saved:
            torn = write_checkpoint(layout.checkpoints, step)
        if saved:
            (torn / "state.pt").write_bytes(b"a state")
        signal.raise_signal(signal.SIGTERM)

    workers.lives = {0: live}
    workers.ends = [KILLED]
    assert Parent(resolve(), clock=FakeClock()).run() is ExitCode.UNSAVED
    assert said in capsys.readouterr().err
    assert layout.process_incident_numbers() == []
    assert not layout.restarts.exists()


def test_a_finished_run_is_not_run_again(
    resolve: Resolve, workers: Workers, layout: RunLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = RunSummary(status=RunStatus.FINISHED, steps=20, applied_steps=20)

    def finish() -> None:
        with EventLog(layout.rank_events, "r", 0, FakeClock()) as log:
            log.emit(RunFinishedEvent(status=RunStatus.FINISHED, summary=summary))

    workers.lives, workers.ends = {0: finish, 1: finish}, [FINISHED, FINISHED]
    Parent(resolve(), clock=FakeClock()).run()
    # A log that says so is not enough: the model has to be there.
    assert Parent(resolve(), resume=True, clock=FakeClock()).run() is ExitCode.FINISHED
    assert len(workers.specs) == 2
    write_checkpoint(layout.checkpoints, 20)
    assert Parent(resolve(), resume=True, clock=FakeClock()).run() is ExitCode.FINISHED
    assert len(workers.specs) == 2
    assert capsys.readouterr().out.startswith("run: has finished its 20 steps")


def test_an_evaluation_that_ends_its_worker_is_not_called_again(
    resolve: Resolve, workers: Workers, layout: RunLayout
) -> None:
    """However many restarts are left: the training is done."""
    workers.ends = [IN_EVALUATE, FINISHED]
    policy = {"restart": {"max_restarts": 0}}
    assert Parent(resolve(policy=policy), clock=FakeClock()).run() is ExitCode.FINISHED
    assert [spec.evaluate for spec in workers.specs] == [True, False]
    assert "the trainer's evaluate ended the worker (SIGSEGV)" in layout.parent_events.read_text()


def test_one_that_ends_it_all_the_same_is_a_death_like_any_other(resolve: Resolve, workers: Workers) -> None:
    workers.ends = [IN_EVALUATE, IN_EVALUATE]
    policy = {"restart": {"max_restarts": 0}}
    assert Parent(resolve(policy=policy), clock=FakeClock()).run() is ExitCode.RESTARTS_SPENT


def test_a_directory_that_does_not_fit_is_refused_before_anything_starts(
    resolve: Resolve, workers: Workers, layout: RunLayout
) -> None:
    with EventLog(layout.parent_events, "r", None, FakeClock()) as log:
        log.emit(WarningEvent(message="an earlier run"))
    with pytest.raises(InputError, match="holds something already"):
        Parent(resolve())
    with pytest.raises(InputError, match="holds no run"):
        Parent(resolve(), resume=True)
    assert workers.specs == []


def test_a_sink_without_its_package_is_bad_input_before_anything_is_written(
    resolve: Resolve, layout: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NEEDS, "mlflow", Needs("mlflow-skinny", "mlflow", ("no_such_module",)))
    with pytest.raises(InputError, match=r"sinks.mlflow: needs the package mlflow-skinny, .*\[mlflow\]"):
        Parent(resolve(sinks={"mlflow": None}), clock=FakeClock())
    assert not layout.root.exists()
