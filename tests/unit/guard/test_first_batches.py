"""A mistake in the program is told from bad data at the first batches of a run, and ends it at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.parts import attempt_of
from support.training import EventList, build, guard_of, healthy_batches, quiet
from torch import Tensor, nn

from supervisor import Guard
from supervisor.evidence import Blame
from supervisor.guard.first_batches import FirstBatches
from supervisor.records import Cause, CauseKind
from supervisor.update import Attempt
from supervisor.update.attempt import Raised

BATCHES = healthy_batches(40)


def raising(update: int, where: str | None = "mine.py:7", **raised: Any) -> Attempt:
    made = attempt_of(update, update)
    fields = {"type": "KeyError", "message": "KeyError: 'a'", "where": where, "module": None, "traceback": "", **raised}
    made.raised = Raised(**fields)
    return made


def verdicts(*attempts: Attempt, cause: Cause | None = None) -> list[Blame | None]:
    first = FirstBatches()
    found = [first.convict(attempt, cause) for attempt in attempts]
    return [None if evidence is None else evidence.blame for evidence in found]


class TestTelling:
    def test_the_third_of_the_first_that_raise_alike_is_the_programs_fault(self) -> None:
        assert verdicts(*map(raising, range(3))) == [None, None, Blame.CODE]

    def test_the_sentence_names_type_file_and_line(self) -> None:
        first = FirstBatches()
        evidence = [first.convict(raising(update), None) for update in range(3)][-1]
        assert evidence is not None
        assert evidence.why.startswith("each of the first 3 batches raised KeyError: 'a' at mine.py:7: the program is")

    @pytest.mark.parametrize(
        "attempts",
        [
            [raising(0), raising(1, "mine.py:8"), raising(2)],
            [raising(0), raising(1, type="ValueError"), raising(2)],
            [raising(0), raising(2), raising(3)],
            [raising(3), raising(4), raising(5)],
            [raising(0), raising(1, None), raising(2)],
        ],
        ids=["another line", "another type", "one did not raise", "later", "no line"],
    )
    def test_nothing_else_is(self, attempts: list[Attempt]) -> None:
        assert verdicts(*attempts) == [None] * 3

    @pytest.mark.parametrize("named", [{"samples": (3,)}, {"deterministic": False}], ids=["rows", "chance"])
    def test_rows_that_raise_by_themselves_are_not(self, named: dict[str, Any]) -> None:
        cause = Cause(CauseKind.EXCEPTION, "", 0, 0, **named)
        assert verdicts(*map(raising, range(3)), cause=cause) == [None] * 3

    def test_an_update_that_reached_the_weights_is_not(self) -> None:
        attempts = [*map(raising, range(3))]
        attempts[0].undone = False
        assert verdicts(*attempts) == [None] * 3


WRONG: dict[str, Any] = {
    "vector": lambda loss: loss * torch.ones(4),
    "number": lambda loss: float(loss),
    "detached": lambda loss: loss.detach(),
    "raises": lambda loss: loss.no_such_method(),
}


class TestTheRun:
    @pytest.mark.parametrize("experiments", [{}, None], ids=["experiments", "counting"])
    @pytest.mark.parametrize("wrong", WRONG)
    def test_a_loss_that_is_wrong_from_the_first_batch_on_halts_at_the_third(
        self, wrong: str, experiments: Any
    ) -> None:
        training, heard = build(), EventList()

        def loss(batch: Any) -> Any:
            return WRONG[wrong](training.loss(batch))

        policy = {"experiments": experiments}
        summary = guard_of(training, BATCHES, loss=loss, policy=policy, listeners=[heard]).run(30)
        assert (summary.status, summary.steps) == ("halted", 3)
        assert [event.action for event in heard.named("decision")] == ["skip_batch", "skip_batch", "halt"]
        assert summary.reason is not None
        assert "the program is at fault" in summary.reason
        assert f"{__file__}:" in summary.reason
        assert (
            "AttributeError" if wrong == "raises" else "LossError: loss(batch) must return a tensor"
        ) in summary.reason

    def test_a_row_that_raises_in_some_batches_is_climbed_and_passed_as_before(self) -> None:
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
        summary = guard_of(training, data, loss=loss, policy=quiet()).run(30)
        assert (summary.status, summary.skipped_steps) == ("finished", 3)

    def test_after_a_healthy_update_it_is_climbed_as_before(self) -> None:
        training, calls = build(), iter(range(10**6))

        def loss(batch: Any) -> Tensor:
            value = training.loss(batch)
            return value if next(calls) < 1 else value.detach()

        heard = EventList()
        guard_of(training, BATCHES, loss=loss, listeners=[heard]).run(30)
        assert len(heard.named("decision")) > 3

    def test_in_a_loop_of_ones_own_too(self) -> None:
        model = nn.Linear(6, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        guard = Guard(model=model, optimizer=optimizer, policy=quiet(), quiet=True)
        halted = []
        for x, _ in BATCHES[:3]:
            guard.before_batch((x,))
            try:
                model(x).nothing()
            except AttributeError as error:
                verdict = guard.after_backward(None, error)
            halted.append(verdict.halt)
        assert halted == [False, False, True]
        assert verdict.reason is not None
        assert f"{__file__}:" in verdict.reason
