"""What a person should change, by the cause that was found."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.events.incident_file import CureRow, IncidentCost, IncidentFile
from supervisor.records import ActionName, Cause, CauseKind, Outcome, SignalName
from supervisor.report.advice import advice


def record(kind: CauseKind, **names: Any) -> IncidentFile:
    return IncidentFile(
        id=1,
        opened_at_step=3,
        closed_at_step=9,
        signals=(SignalName.NONFINITE_LOSS,),
        decisions=(),
        outcome=Outcome.RECOVERED,
        cured_by=ActionName.SKIP_BATCH,
        cost=IncidentCost(steps_lost=1, seconds=0.1),
        cause=Cause(kind=kind, explanation="", step=3, update=3, **names),
    )


@pytest.mark.parametrize("kind", list(CauseKind))
def test_there_is_advice_for_every_kind_of_cause(kind: CauseKind) -> None:
    names: dict[str, Any] = {"samples": (1,)} if kind is CauseKind.BAD_INPUT else {}
    assert advice(record(kind, **names))


@pytest.mark.parametrize(
    ("operation", "said"),
    [("SqrtBackward0", "under the root"), ("log", "above zero"), ("softmax", "masked"), ("unheard_of", "look for")],
)
def test_the_advice_names_the_operation_where_it_is_known(operation: str, said: str) -> None:
    lines = advice(record(CauseKind.BACKWARD_ONLY, operation=operation, where="model.py:4", module="head"))
    assert said in lines[0]
    assert "model.py:4" in lines[0]


def test_a_bad_sample_is_named_by_its_row_or_else_by_its_place_in_the_batch() -> None:
    rows = advice(record(CauseKind.BAD_INPUT, samples=(1,), dataset_indices=(40, 41)))
    assert rows[0] == "Clean or leave out row 40, 41 of the data set."
    assert "quarantine.jsonl" in rows[1]
    place = advice(record(CauseKind.BAD_INPUT, samples=(1, 3), batch_number=12))
    assert place == ("Look at sample 1, 3 of batch 12: batch.pt holds it.",)


def test_a_program_that_is_not_deterministic_is_told_apart_from_a_fault_of_the_machine() -> None:
    assert "not deterministic" in advice(record(CauseKind.NOT_REPRODUCIBLE, deterministic=False))[0]
    assert "fault of the machine" in advice(record(CauseKind.NOT_REPRODUCIBLE, deterministic=True))[0]


def test_what_spoilt_the_weights_is_to_be_looked_for() -> None:
    said = advice(record(CauseKind.POISONED_PARAMETER, parameter="head.weight"))
    assert said[0].startswith("head.weight was not finite before the step")
    assert "state_every_steps: 1" in said[1]


def test_how_it_ended_gives_advice_too() -> None:
    base = record(CauseKind.GRADIENT_EXPLOSION, parameter="head.weight")
    cured = advice(base.model_copy(update={"cured_by": ActionName.LOWER_LR}))
    assert "lower peak rate" in cured[-1]
    halted = advice(base.model_copy(update={"outcome": Outcome.HALTED, "cured_by": None}))
    assert "--resume --policy P.yaml" in halted[-1]
    diverged = advice(base.model_copy(update={"signals": (SignalName.DIVERGENCE,)}))
    assert "left their usual range" in diverged[-1]


def test_where_the_cause_is_not_known_it_says_how_to_find_out() -> None:
    unknown = record(CauseKind.BAD_INPUT).model_copy(update={"cause": None})
    assert advice(unknown)[0].startswith("The cause is not known: switch the diagnosis on")
    raised = unknown.model_copy(update={"signals": (SignalName.STEP_EXCEPTION,)})
    assert advice(raised) == ("Mend the exception: the traceback is in incident.json.",)


def test_a_cure_is_told_with_the_line_to_write() -> None:
    rows = (CureRow(cure="keep", score=9.0), CureRow(cure="reinitialize_flagged + clip 1.0 + lr 0.1", score=1.0))
    found = record(CauseKind.GRADIENT_EXPLOSION).model_copy(update={"cause": None, "cures": rows})
    assert advice(found)[0].startswith("No change of the set-up")
    chosen = (rows[0], rows[1].model_copy(update={"chosen": True}))
    (line,) = advice(found.model_copy(update={"cures": chosen}))
    for part in ("gradient_clip: {max_norm: 1.0}", "0.1 times the learning rate", "`initial_scale` names"):
        assert part in line
