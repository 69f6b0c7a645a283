"""A flagged update in one line that fits a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.events import schema
from supervisor.events.incident_line import COLUMNS, IncidentLine, cut_to, names_of, some_of
from supervisor.evidence import Blame, Evidence
from supervisor.records import ActionName, CauseKind, SignalName

SKIP, LOWER, RELOAD, HALT = ActionName.SKIP_BATCH, ActionName.LOWER_LR, ActionName.RELOAD_CHECKPOINT, ActionName.HALT
LOSS, PARAMETER = SignalName.NONFINITE_LOSS, SignalName.NONFINITE_PARAMETER


def lines(*events: Any) -> list[str]:
    told = IncidentLine()
    found = [told.tell(event) for event in events]
    return [line for line in [*found, told.rest()] if line is not None]


def signal(step: int = 61, name: SignalName = LOSS, **details: Any) -> schema.SignalEvent:
    return schema.SignalEvent.model_validate({"step": step, "update": step, "signal": name, **details})


def opened(step: int = 61, *names: SignalName) -> schema.IncidentOpenedEvent:
    return schema.IncidentOpenedEvent(step=step, update=step, incident=2, signals=names or (LOSS,))


def cause(kind: CauseKind = CauseKind.BAD_INPUT, **fields: Any) -> schema.DiagnosisEvent:
    return schema.DiagnosisEvent(incident=2, kind=kind, **fields)


def left_out(*rows: int | str) -> schema.QuarantinedEvent:
    return schema.QuarantinedEvent(incident=2, dataset_indices=rows)


def decided(step: int = 61, action: ActionName = SKIP, **fields: Any) -> schema.DecisionEvent:
    return schema.DecisionEvent(
        step=step, update=step, incident=2, rung=0, action=action, attempt=1, reason="the lowest rung", **fields
    )


def applied(step: int = 61, action: ActionName = SKIP, **effect: Any) -> schema.ActionAppliedEvent:
    return schema.ActionAppliedEvent(step=step, update=step, incident=2, action=action, seconds=0.01, **effect)


def test_a_bad_row_is_named_with_what_became_of_it() -> None:
    found = cause(samples=(15,), dataset_indices=(1234,), explanation="sample 15 of the batch: not finite")
    assert lines(signal(), opened(), found, left_out(1234), decided(), applied()) == [
        "step 61  nonfinite_loss  bad data: row 1234 (left out)  → skipped"
    ]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([cause(samples=(3,))], "bad data: sample 3 of the batch"),
        ([cause(samples=(3, 4), dataset_indices=(7, 8))], "bad data: rows 7, 8"),
        ([left_out(1, 2, 3, 4, 5)], "bad data: rows 1, 2, 3 and 2 more (left out)"),
        ([cause(CauseKind.NOT_REPRODUCIBLE, explanation="a long sentence")], "healthy when it was run again"),
        ([cause(CauseKind.POISONED_PARAMETER, parameter="0.weight")], "0.weight was not finite"),
        ([cause(CauseKind.EXCEPTION, explanation="ValueError at a.py:3")], "ValueError at a.py:3"),
        ([decided(evidence=Evidence(Blame.DATA, "the canaries are unharmed"))], "bad data"),
        ([], "loss 1.5"),
    ],
)
def test_where_it_comes_from_is_as_much_as_is_known(found: list[Any], why: str) -> None:
    assert lines(signal(loss=1.5), opened(), *found, applied()) == [f"step 61  nonfinite_loss  {why}  → skipped"]


@pytest.mark.parametrize(
    ("events", "end"),
    [
        ([decided(retry=True), applied()], "tried again"),
        ([applied(action=RELOAD, restored_step=40)], "back to step 40"),
        ([applied(action=LOWER, lr_scale=0.5)], "learning rate ×0.5"),
        (
            [applied(action=ActionName.REINITIALIZE, restored_step=40, modules=("gru", "a", "b", "c"))],
            "redrew gru, a, b and 1 more, back to step 40",
        ),
        (
            [
                schema.CureChosenEvent(incident=2, cure="clip 1.0", score=1, keep_score=2),
                applied(action=ActionName.TRY_CURES, restored_step=0),
            ],
            "from now on clip 1.0, back to step 0",
        ),
        (
            [schema.ActionFailedEvent(incident=2, action=RELOAD, error="all are\ntorn"), applied(action=LOWER)],
            "reload_checkpoint failed (all are torn); lower_lr",
        ),
    ],
)
def test_what_was_done_ends_the_line(events: list[Any], end: str) -> None:
    (line,) = lines(signal(), opened(), *events)
    assert line.endswith(f"  → {end}")


@pytest.mark.parametrize(
    "events",
    [
        [cause(CauseKind.EXCEPTION, explanation="x" * 2_000_000)],
        [cause(CauseKind.POISONED_OPTIMIZER_STATE, parameter="a" * 300, state_key="exp_avg")],
        [left_out(*(f"a row of quite a long name {number}" for number in range(9)))],
        [schema.ActionFailedEvent(incident=2, action=RELOAD, error="y" * 2000)] * 3,
    ],
)
def test_a_line_fits_whatever_is_in_it(events: list[Any]) -> None:
    (line,) = lines(signal(123_456_789, PARAMETER), opened(123_456_789, PARAMETER), *events, applied(123_456_789))
    assert len(line) <= COLUMNS
    assert line.startswith("step 123456789  nonfinite_parameter")
    assert line.endswith("skipped")


def test_of_an_incident_the_first_skip_is_said_and_every_other_answer() -> None:
    said = lines(
        *(signal(4), opened(4), applied(4)),
        *(signal(5), applied(5)),
        *(signal(6), applied(6, LOWER, lr_scale=0.5)),
        *(signal(7), applied(7, RELOAD, restored_step=3)),
    )
    assert [line.partition("  ")[0] for line in said] == ["step 4", "step 6", "step 7"]


def test_a_halt_is_one_line_with_its_reason() -> None:
    halted = schema.RunHaltedEvent(step=9, update=9, reason="nonfinite_loss: sample 3\nis bad; nothing is left")
    end = "step 9  halted: nonfinite_loss: sample 3 is bad; nothing is left  → back to step 5"
    assert lines(signal(9), opened(9), decided(9, HALT), applied(9, HALT, restored_step=5), halted) == [end]
    assert lines(halted) == [end.partition("  →")[0]]


def test_one_that_was_never_answered_is_said_at_the_end() -> None:
    assert lines(signal(), opened(), decided()) == ["step 61  nonfinite_loss  → skip_batch …"]


def test_what_others_have_written_does_not_reach_the_terminal() -> None:
    hostile = "\x1b[2J\r\x00"
    failed = schema.ActionFailedEvent(incident=2, action=RELOAD, error=hostile)
    (line,) = lines(signal(), opened(), cause(explanation=hostile), left_out(hostile), failed, applied())
    assert line.isprintable()


def test_names_and_numbers_are_told_in_short() -> None:
    assert names_of(("a", "b", "c", "d", "e")) == "a, b, c and 2 more"
    assert (some_of("row", [7]), some_of("row", [7, "x"])) == ("row 7", "rows 7, x")
    assert (cut_to("abc", 3), cut_to("abcd", 3)) == ("abc", "ab…")
