from __future__ import annotations

from typing import Any

from supervisor.events import schema
from supervisor.events.schema import ExitClassification
from supervisor.page.lives import Life, Lives


def told(*events: Any) -> list[Life]:
    lives = Lives()
    for event in events:
        lives.tell(event)
    return [*lives.rows()]


def exited(classification: ExitClassification, **fields: Any) -> schema.WorkerExitedEvent:
    values = {"pid": 7, "exit_code": None, "signal": None, **fields}
    return schema.WorkerExitedEvent(classification=classification, **values)


def test_each_worker_with_how_it_ended() -> None:
    killed, finished = told(
        schema.WorkerStartedEvent(pid=7),
        schema.RunStartedEvent(),
        schema.WarningEvent(message="x", step=12, rank=0),
        exited(ExitClassification.KILLED, signal="SIGKILL"),
        schema.WorkerStartedEvent(pid=8),
        schema.RunResumedEvent(checkpoint_step=10, rank=0),
        schema.WarningEvent(message="x", step=20, rank=0),
        exited(ExitClassification.FINISHED, exit_code=0),
    )
    assert (killed.from_step, killed.last_step, killed.how, killed.orderly) == (0, 12, "killed (SIGKILL)", False)
    assert (finished.from_step, finished.last_step, finished.how, finished.orderly) == (10, 20, "finished", True)


def test_a_guard_of_ones_own_has_lives_too() -> None:
    first, second = told(schema.RunStartedEvent(rank=0), schema.RunResumedEvent(checkpoint_step=5, rank=0))
    assert (first.number, first.ended, second.number, second.from_step) == (1, None, 2, 5)


def test_what_it_died_of_is_the_last_line() -> None:
    died = exited(ExitClassification.EXCEPTION, exit_code=1, reason="Traceback\n  x\nValueError: no row")
    (life,) = told(schema.WorkerStartedEvent(pid=7), died)
    assert (life.from_step, life.how, life.why) == (None, "exception (exit code 1)", "ValueError: no row")


def test_another_rank_is_no_other_life() -> None:
    assert told(schema.RunStartedEvent(rank=1)) == []
