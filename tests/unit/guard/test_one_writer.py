"""One open guard a run directory, and what it is to leave a `with` block."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import Training, build, guard_of, healthy_batches

from supervisor import Guard, InputError, PolicyHalt
from supervisor.events import RunStatus, read_events, writer_lock
from supervisor.process.run_directory import run_lock
from supervisor.report.status import RunState, read_status

BATCHES = healthy_batches(8)
HALTS = {"ladder": [{"action": "halt"}]}
OTHER_GUARD = """
import sys
from supervisor import Guard
from supervisor.testing.tiny import TinyTrainer
trainer = TinyTrainer()
guard = Guard(
    model=trainer.model, optimizer=trainer.optimizer, loss=trainer.loss, data=trainer.data, run_dir=sys.argv[1]
)
print("open", flush=True)
sys.stdin.read()
"""


def opened(run_dir: Path, *, resume: bool = False, training: Training | None = None, **options: Any) -> Guard:
    return guard_of(training or build(), BATCHES, run_dir=run_dir, resume=resume, quiet=True, **options)


def refused(make: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        make()
    return str(caught.value)


class Breaking:
    """State of the user's that cannot be told any more."""

    broken = False

    def state_dict(self) -> dict[str, Any]:
        if self.broken:
            raise RuntimeError("broken")
        return {}

    def load_state_dict(self, state: Any) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def whole() -> Iterator[None]:
    yield
    Breaking.broken = False


def with_state() -> Training:
    training = build()
    training.extra_state["mine"] = Breaking()
    return training


class TestASecondGuard:
    def test_is_refused_while_the_first_is_open_however_it_is_asked_for(self, tmp_path: Path) -> None:
        first = opened(tmp_path / "run")
        (tmp_path / "link").symlink_to(tmp_path / "run")
        for resume, name in ((False, "run"), (True, "run"), (True, "link")):
            said = refused(lambda resume=resume, name=name: opened(tmp_path / name, resume=resume))
            assert "another Guard of this process has it open: close it first (`guard.close()`" in said
        assert first.run(4).status is RunStatus.FINISHED

    @pytest.mark.parametrize("end", ["run", "close", "finish", "halt"])
    def test_may_go_on_once_the_first_has_ended(self, end: str, tmp_path: Path) -> None:
        first = opened(tmp_path, policy=HALTS)
        if end == "run":
            first.run(4)
        elif end == "halt":
            first.step(BATCHES[0])
            with pytest.raises(PolicyHalt):
                first.step((torch.full_like(BATCHES[0][0], torch.nan), BATCHES[0][1]))
        else:
            first.step(BATCHES[0])
            first.flush()
            getattr(first, end)()
        second = opened(tmp_path, resume=True)
        if end != "halt":
            assert "another Guard of this process" in refused(lambda: first.step(BATCHES[1]))
        second.close()

    def test_one_that_could_not_be_built_holds_nothing(self, tmp_path: Path) -> None:
        opened(tmp_path).run(2)
        training = build(model=lambda: torch.nn.Linear(6, 3))
        refused(lambda: opened(tmp_path, resume=True, training=training))
        opened(tmp_path, resume=True).close()

    def test_of_another_process_is_refused_by_its_number(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(writer_lock, "PATIENCE_SECONDS", 0.0)
        command = [sys.executable, "-c", OTHER_GUARD, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            expected = f"a Guard of process {process.pid} has it open: wait for it to end"
            assert expected in refused(lambda: opened(tmp_path))

            def supervise() -> None:
                with run_lock(tmp_path, "run"):
                    pass

            assert f"run: {expected}" in refused(supervise)
            process.kill()
        with run_lock(tmp_path, "run"):
            pass

    def test_in_memory_there_may_be_any_number(self) -> None:
        guards = [guard_of(build(), BATCHES, quiet=True) for _ in range(2)]
        assert [guard.run(2).status for guard in guards] == [RunStatus.FINISHED] * 2


class TestABatchThatIsNotUsed:
    def test_ends_the_loop_at_the_second_one(self) -> None:
        guard, drawn = guard_of(build(), BATCHES, quiet=True), []

        def loop() -> None:
            for batch in guard.batches(4):
                drawn.append(batch)

        assert "call `guard.step(batch)` once for each" in refused(loop)
        assert len(drawn) == 1

    def test_is_told_where_later_ones_are_forgotten_too(self) -> None:
        guard = guard_of(build(), BATCHES, quiet=True)

        def loop() -> None:
            for number, batch in enumerate(guard.batches(4)):
                if number == 0:
                    guard.step(batch)

        assert "was not handed to the guard" in refused(loop)
        assert guard.steps_done == 1

    def test_may_be_left_by_a_break_a_stop_an_end_or_an_abandon(self) -> None:
        guard = guard_of(build(), BATCHES, quiet=True)
        for _ in guard.batches(4):
            break
        for number, batch in enumerate(guard.batches(4)):
            if number == 1:
                guard.abandon()
                continue
            guard.step(batch)
        assert guard.steps_done == 4
        for _ in guard.batches(6):
            guard.request_stop()
        assert guard.status is RunStatus.INTERRUPTED
        guard = guard_of(build(), BATCHES, quiet=True)
        for _ in guard.batches(6):
            guard.finish()
        assert guard.status is RunStatus.FINISHED

    def test_the_primitives_use_it_too(self) -> None:
        training = build()
        guard = guard_of(training, BATCHES, quiet=True)
        for batch in guard.batches(2):
            guard.before_batch(batch)
            loss = training.loss(batch)
            loss.backward()
            assert guard.after_backward(loss).apply
            with guard.applying():
                training.optimizer.step()
            guard.after_step()
        assert guard.status is RunStatus.FINISHED


class TestAWithBlock:
    @pytest.mark.parametrize(("steps", "status"), [(4, RunStatus.FINISHED), (6, RunStatus.INTERRUPTED)])
    def test_ends_the_run_and_closes_it(self, steps: int, status: RunStatus, tmp_path: Path) -> None:
        with opened(tmp_path) as guard:
            guard.begin(steps)
            for batch in BATCHES[:4]:
                guard.step(batch)
        assert guard.status is status
        assert read_status(tmp_path).state.value == status.value
        with opened(tmp_path, resume=True) as second:
            assert second.steps_done == 4
        # It never began.
        assert second.status is None
        assert read_status(tmp_path).state is not RunState.HALTED

    @pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()], ids=["exception", "interrupt"])
    def test_is_left_by_an_exception_with_a_checkpoint_of_the_last_whole_step(
        self, error: BaseException, tmp_path: Path
    ) -> None:
        training = build()
        with pytest.raises(type(error)) as caught, opened(tmp_path, training=training) as guard:  # noqa: PT012
            for number, batch in enumerate(guard.batches(6)):
                if number == 3:
                    then = everything(training)
                    guard.before_batch(batch)
                    training.loss(batch).backward()
                    raise error
                guard.step(batch)
        assert caught.value is error
        assert guard.status is RunStatus.INTERRUPTED
        status = read_status(tmp_path)
        assert (status.state, status.step) == (RunState.INTERRUPTED, 3)
        warnings = [event.message for event in read_events(tmp_path) if event.event == "warning"]
        assert f"the loop was broken off by {type(error).__name__}" in warnings[0]
        fresh = build(seed=9)
        with opened(tmp_path, resume=True, training=fresh) as second:
            assert_same(everything(fresh), then)
            assert second.run(6).status is RunStatus.FINISHED

    def test_is_left_inside_the_optimizers_step_without_a_checkpoint(self, tmp_path: Path) -> None:
        training = build()
        with pytest.raises(KeyboardInterrupt), opened(tmp_path, training=training) as guard:  # noqa: PT012
            guard.begin(6)
            guard.step(BATCHES[0])
            guard.before_batch(BATCHES[1])
            loss = training.loss(BATCHES[1])
            loss.backward()
            guard.after_backward(loss)
            with guard.applying():
                raise KeyboardInterrupt
        assert guard.status is RunStatus.UNSAVED
        assert "--resume goes on from checkpoints/step-000000" in str(guard.summary().reason)
        told = [event for event in read_events(tmp_path) if event.event in ("warning", "run_finished")]
        assert [event.event for event in told] == ["warning", "run_finished"]
        assert "broken off by KeyboardInterrupt amid an update: no checkpoint of that" in told[0].message
        with opened(tmp_path, resume=True) as second:
            assert second.steps_done == 0

    def test_a_halt_passes_and_stays_a_halt(self, tmp_path: Path) -> None:
        bad = (torch.full_like(BATCHES[0][0], torch.nan), BATCHES[0][1])
        with pytest.raises(PolicyHalt), opened(tmp_path, policy=HALTS) as guard:
            guard.step(bad)
        assert read_status(tmp_path).state is RunState.HALTED
        assert [event.event for event in read_events(tmp_path)][-1] == "run_halted"

    def test_what_fails_as_it_ends_hides_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="mine"), opened(tmp_path, training=with_state()) as guard:  # noqa: PT012
            guard.step(BATCHES[0])
            Breaking.broken = True
            raise ValueError("mine")
        Breaking.broken = False
        warnings = [event.message for event in read_events(tmp_path) if event.event == "warning"]
        assert "the run could not be ended in good order: RuntimeError: broken" in warnings[-1]
        with opened(tmp_path, resume=True, training=with_state()) as guard:
            assert guard.steps_done == 0

    def test_what_fails_as_it_ends_by_itself_is_raised(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match="broken"), opened(tmp_path, training=with_state()) as guard:  # noqa: PT012
            guard.step(BATCHES[0])
            Breaking.broken = True
        Breaking.broken = False
        opened(tmp_path, resume=True, training=with_state()).close()
