"""A mistake in the program is told from bad data at the first batches of a run, and ends it at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.exact import assert_same
from support.parts import attempt_of
from support.training import EventList, build, guard_of, healthy_batches, quiet
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from supervisor import Guard, PolicyHalt
from supervisor.guard.first_batches import FirstBatches
from supervisor.records import Cause, CauseKind
from supervisor.report.raised import SMALL_BATCH
from supervisor.update import Attempt, LossError
from supervisor.update.attempt import Raised

BATCHES = healthy_batches(40)


def raising(update: int, where: str | None = "mine.py:7", **raised: Any) -> Attempt:
    made = attempt_of(update, update)
    fields = {"type": "KeyError", "message": "KeyError: 'a'", "where": where, "module": None, "traceback": "", **raised}
    made.raised = Raised(**fields)
    made.error = KeyError("a")
    return made


def verdicts(*attempts: Attempt, cause: Cause | None = None, applied: bool = False) -> list[bool]:
    first = FirstBatches(lambda: applied)
    return [first.convict(attempt, cause) for attempt in attempts]


class TestTelling:
    def test_the_third_of_the_first_that_raise_alike_is_the_programs_fault(self) -> None:
        assert verdicts(*map(raising, range(3))) == [False, False, True]

    def test_the_sentence_names_type_file_and_line(self) -> None:
        first = FirstBatches()
        assert first.at_fault is None
        assert [first.convict(raising(update), None) for update in range(3)][-1]
        assert first.at_fault is not None
        assert first.at_fault.startswith("mine.py:7: KeyError: 'a': each of the first 3 batches raised it")

    def test_what_helps_is_said_where_the_line_is_not_what_is_to_be_mended(self) -> None:
        said = "ValueError: Expected more than 1 value per channel when training, got input size torch.Size([1, 8])"
        first = FirstBatches()
        assert [first.convict(raising(update, message=said), None) for update in range(3)][-1]
        assert str(first.at_fault).endswith(SMALL_BATCH)

    def test_three_in_a_row_are_whatever_came_before(self) -> None:
        others = [raising(0, "mine.py:8"), raising(1), raising(2, "mine.py:9")]
        assert verdicts(*others, *map(raising, range(3, 6))) == [False] * 5 + [True]

    @pytest.mark.parametrize(
        "attempts",
        [
            [raising(0), raising(1, "mine.py:8"), raising(2)],
            [raising(0), raising(1, type="ValueError"), raising(2)],
            [raising(0), raising(1, None), raising(2)],
        ],
        ids=["another line", "another type", "no line"],
    )
    def test_nothing_else_is(self, attempts: list[Attempt]) -> None:
        assert verdicts(*attempts) == [False] * 3

    def test_none_is_once_an_update_was_applied(self) -> None:
        assert verdicts(*map(raising, range(3)), applied=True) == [False] * 3

    @pytest.mark.parametrize(
        "named",
        [{"samples": (3,)}, {"deterministic": False}, {"kind": CauseKind.NOT_REPRODUCIBLE}],
        ids=["rows", "chance", "healthy when run again"],
    )
    def test_rows_that_raise_by_themselves_are_not(self, named: dict[str, Any]) -> None:
        fields: dict[str, Any] = {"kind": CauseKind.EXCEPTION, **named}
        cause = Cause(explanation="", step=0, update=0, **fields)
        assert verdicts(*map(raising, range(3)), cause=cause) == [False] * 3

    @pytest.mark.parametrize("applied", [False, True])
    def test_a_loss_that_is_none_is_at_once_and_before_the_first_update_alone(self, applied: bool) -> None:
        attempt, first = raising(0), FirstBatches(lambda: applied)
        assert not first.wrong_loss(attempt)
        attempt.error = LossError("loss(batch) must return a tensor", verdicts)
        assert first.wrong_loss(attempt) is not applied
        line = verdicts.__code__.co_firstlineno
        assert first.at_fault == (None if applied else f"{__file__}:{line}: loss(batch) must return a tensor")


WRONG: dict[str, Any] = {
    "dict": lambda loss: {"loss": loss},
    "tuple": lambda loss: (loss, 1),
    "number": lambda loss: float(loss),
    "none": lambda loss: None,
    "integers": lambda loss: loss.long(),
    "detached": lambda loss: loss.detach(),
    "vector": lambda loss: loss * torch.ones(4),
}


@pytest.mark.parametrize("experiments", [{}, None], ids=["experiments", "counting"])
class TestTheRun:
    @pytest.mark.parametrize("wrong", WRONG)
    def test_a_loss_that_is_none_is_raised_at_the_first_batch(self, wrong: str, experiments: Any) -> None:
        training, heard = build(), EventList()
        before = {name: value.clone() for name, value in training.model.state_dict().items()}

        def loss(batch: Any) -> Any:
            return WRONG[wrong](training.loss(batch))

        policy = {"experiments": experiments}
        guard = guard_of(training, BATCHES, loss=loss, policy=policy, listeners=[heard])
        with pytest.raises(LossError, match=r"loss\(batch\) must return a tensor") as caught:
            guard.run(30)
        assert caught.value.where == f"{__file__}:{loss.__code__.co_firstlineno}"
        assert guard.program_at_fault is not None
        assert guard.program_at_fault.startswith(f"{caught.value.where}: loss(batch) must return")
        assert heard.named("decision") == []
        assert heard.named("incident_opened") == []
        assert_same(training.model.state_dict(), before)

    def test_an_exception_on_every_batch_is_raised_itself(self, experiments: Any) -> None:
        """A hidden size that is wrong: with experiments two batches more are tried, else the third tells."""
        training, heard = build(), EventList()
        broken = nn.Linear(7, 3)

        def loss(batch: Any) -> Tensor:
            training.loss(batch)
            return broken(batch[0]).sum()  # type: ignore[no-any-return]

        guard = guard_of(training, BATCHES, loss=loss, policy={"experiments": experiments}, listeners=[heard])
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            guard.run(30)
        assert guard.program_at_fault is not None
        line = loss.__code__.co_firstlineno + 2
        assert guard.program_at_fault.startswith(f"{__file__}:{line}: RuntimeError: mat1 and mat2 shapes")
        skipped = [] if experiments is not None else ["skip_batch", "skip_batch"]
        assert [event.action for event in heard.named("decision")] == skipped

    def test_it_leaves_everything_as_it_was_before_the_batch(self, experiments: Any) -> None:
        """So that whoever mends the loss in a session goes on as if nothing had been."""
        training, other = build(), build()
        broken = [True]

        def loss(batch: Any) -> Any:
            value = training.loss(batch)
            return value.item() if broken[0] else value

        guard = guard_of(training, BATCHES, loss=loss, policy={"experiments": experiments})
        with pytest.raises(LossError):
            guard.run(10)
        broken[0] = False
        state = torch.get_rng_state()
        assert guard.run(10).status == "finished"
        torch.set_rng_state(state)
        guard_of(other, BATCHES, policy={"experiments": experiments}).run(10)
        assert_same(training.model.state_dict(), other.model.state_dict())

    def test_a_scheduler_that_raises_at_every_update_is_found_at_the_third(self, experiments: Any) -> None:
        training = build()

        def never(step: int) -> float:
            if step:
                raise ZeroDivisionError("no such rate")
            return 1.0

        training.scheduler = LambdaLR(training.optimizer, never)
        guard = guard_of(training, BATCHES, policy={"experiments": experiments})
        with pytest.raises(ZeroDivisionError, match="no such rate"):
            guard.run(30)
        assert guard.program_at_fault is not None
        assert f"{__file__}:{never.__code__.co_firstlineno + 2}: ZeroDivisionError" in guard.program_at_fault

    def test_a_row_that_raises_in_some_batches_is_climbed_and_passed_as_before(self, experiments: Any) -> None:
        training = build()

        def loss(batch: Any) -> Tensor:
            if bool((batch[0] > 1e3).any()):
                raise ValueError("no such row")
            return training.loss(batch)

        def spoilt(batch: Any) -> Any:
            x_BF = batch[0].clone()
            x_BF[3, 0] = 1e4
            return x_BF, batch[1]

        data = [spoilt(batch) if number < 3 else batch for number, batch in enumerate(BATCHES)]
        summary = guard_of(training, data, loss=loss, policy={"experiments": experiments}).run(30)
        assert (summary.status, summary.skipped_steps) == ("finished", 3)

    @pytest.mark.parametrize("wrong", WRONG)
    def test_after_a_healthy_update_it_halts_with_the_line_and_climbs_nothing(
        self, wrong: str, experiments: Any
    ) -> None:
        """A branch that is taken from some update on: no rung but a skip could help."""
        training, heard = build(), EventList()

        def loss(batch: Any) -> Any:
            value = training.loss(batch)
            return value if guard.steps_done < 12 else WRONG[wrong](value)

        guard = guard_of(training, BATCHES, loss=loss, policy={"experiments": experiments}, listeners=[heard])
        with pytest.raises(PolicyHalt) as caught:
            loop_of(guard)
        assert isinstance(caught.value.__cause__, LossError)
        skipped = [] if experiments is not None else ["skip_batch", "skip_batch"]
        assert [event.action for event in heard.named("decision")] == [*skipped, "halt"]
        (halted,) = heard.named("run_halted")
        assert f"{__file__}:{loss.__code__.co_firstlineno}" in halted.reason
        assert "the program is at fault" in halted.reason
        assert guard.summary().applied_steps == 12

    @pytest.mark.parametrize("wrong", ["detached", "none"])
    def test_a_batch_that_alone_has_none_is_left_out_and_nothing_else_changes(
        self, wrong: str, experiments: Any
    ) -> None:
        """As where no row of it has a target."""
        training, heard = build(), EventList()
        odd = {12, 19}

        def loss(batch: Any) -> Any:
            value = training.loss(batch[1:])
            return WRONG[wrong](value) if batch[0] in odd else value

        data = [(number, *batch) for number, batch in enumerate(BATCHES)]
        policy = {"experiments": experiments}
        summary = guard_of(training, data, loss=loss, policy=policy, listeners=[heard]).run(30)
        assert (summary.status, summary.skipped_steps, summary.lr_scale) == ("finished", 2, 1.0)
        assert {event.action for event in heard.named("decision")} == {"skip_batch"}
        rest = [batch for number, batch in enumerate(BATCHES) if number not in odd]
        other = build()
        guard_of(other, rest, policy=policy).run(28)
        assert_same(training.model.state_dict(), other.model.state_dict())

    def test_gradients_that_were_switched_off_are_no_bad_data(self, experiments: Any) -> None:
        """As by an evaluation that does not switch them on again."""
        training, heard = build(), EventList()
        guard = guard_of(training, BATCHES, policy={"experiments": experiments}, listeners=[heard])

        def loop() -> None:
            for batch in guard.batches(30):
                torch.set_grad_enabled(guard.steps_done < 12)
                guard.step(batch)

        try:
            with pytest.raises(PolicyHalt, match="the program is at fault"):
                loop()
        finally:
            torch.set_grad_enabled(True)
        assert "gradients are switched off" in heard.named("signal")[0].exception
        assert "lower_lr" not in {event.action for event in heard.named("decision")}


def test_in_a_loop_of_ones_own_the_third_raises_it() -> None:
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    guard = Guard(model=model, optimizer=optimizer, policy=quiet(), quiet=True)
    tried: list[int] = []

    def loop() -> None:
        for x, _ in BATCHES:
            tried.append(1)
            guard.before_batch((x,))
            with pytest.raises(AttributeError) as caught:
                model(x).nothing()
            guard.after_backward(None, caught.value)

    with pytest.raises(AttributeError, match="nothing"):
        loop()
    assert len(tried) == 3
    assert guard.program_at_fault is not None
    assert __file__ in guard.program_at_fault


def loop_of(guard: Guard) -> None:
    for batch in guard.batches(30):
        guard.step(batch)


class TestAHalt:
    def test_it_is_raised_from_the_exception_that_led_to_it(self) -> None:
        training, calls = build(), iter(range(10**6))

        def loss(batch: Any) -> Tensor:
            if next(calls) >= 3:
                raise ValueError("no such row")
            return training.loss(batch)

        guard = guard_of(training, BATCHES, loss=loss, policy={"ladder": [{"action": "halt"}]})
        with pytest.raises(PolicyHalt) as first:
            loop_of(guard)
        with pytest.raises(PolicyHalt) as later:
            guard.step(BATCHES[0])
        for caught in (first, later):
            assert isinstance(caught.value.__cause__, ValueError)

    def test_it_has_no_cause_where_nothing_was_raised(self) -> None:
        training = build()
        guard = guard_of(
            training,
            BATCHES,
            loss=lambda batch: training.loss(batch) * float("nan"),
            policy={"ladder": [{"action": "halt"}]},
        )
        with pytest.raises(PolicyHalt) as caught:
            loop_of(guard)
        assert caught.value.__cause__ is None
