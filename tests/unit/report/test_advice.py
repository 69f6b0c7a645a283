"""What a person should change, by the cause that was found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.one_incident import INCIDENT
from support.parts import Parts

from supervisor.diagnosis import wording
from supervisor.diagnosis.trace import Origin
from supervisor.events.incident_file import CureRow, IncidentFile
from supervisor.records import ActionName, Bundle, Cause, CauseKind, Decision, Outcome, SignalName
from supervisor.report.advice import advice
from supervisor.report.raised import SMALL_BATCH


def cause(kind: CauseKind, **names: Any) -> Cause:
    return Cause(kind=kind, explanation="", step=3, update=3, **names)


def record(kind: CauseKind, **names: Any) -> IncidentFile:
    told = {"cause": cause(kind, **names), "bundle": Bundle("batch.pt", "state.pt")}
    return INCIDENT.model_copy(update=told)


def decided(*actions: ActionName) -> tuple[Decision, ...]:
    return tuple(Decision(1, index, action, 1, "because") for index, action in enumerate(actions))


@pytest.mark.parametrize("kind", list(CauseKind))
def test_there_is_advice_for_every_kind_of_cause(kind: CauseKind) -> None:
    assert advice(record(kind))


class TestOperations:
    @pytest.mark.parametrize(
        ("operation", "said"),
        [("SqrtBackward0", "under the root"), ("log", "above zero"), ("softmax", "masked"), ("unheard_of", "look at")],
    )
    def test_the_operation_is_named_where_it_is_known(self, operation: str, said: str) -> None:
        lines = advice(record(CauseKind.BACKWARD_ONLY, operation=operation, where="model.py:4", module="head"))
        assert said in lines[0]
        assert "model.py:4" in lines[0]

    def test_what_its_arguments_showed_is_said_with_what_helps(self) -> None:
        detail = "all 4 targets are the ignored -100"
        said = advice(record(CauseKind.LOSS_FUNCTION, operation="cross_entropy", where="loss.py:4", detail=detail))
        assert said[0].startswith("cross_entropy at loss.py:4: all 4 targets are the ignored -100; give it at least")

    @pytest.mark.parametrize("operation", ["ctc_loss", "cross_entropy", "some_op", None])
    def test_no_logarithm_is_named_that_was_not_measured(self, operation: str | None) -> None:
        (said,) = advice(record(CauseKind.LOSS_FUNCTION, operation=operation))
        assert "logarithm" not in said
        assert "Every module is finite" not in said
        assert operation is None or operation in said


class TestData:
    def test_a_bad_sample_is_named_by_its_row_or_else_by_its_place_in_the_batch(self) -> None:
        rows = advice(record(CauseKind.BAD_INPUT, samples=(1,), dataset_indices=(40, 41)))
        assert rows[0] == "Clean or leave out rows 40, 41 of the data set."
        assert "quarantine.jsonl" in rows[1]
        assert advice(record(CauseKind.BAD_INPUT, dataset_indices=(40, 41)), left_out=(41,))[1] == rows[1]
        kept = advice(record(CauseKind.BAD_INPUT, dataset_indices=(40, 41)), left_out=())
        assert kept[1].startswith("This run goes on with them. To leave them out, write a file")
        place = record(CauseKind.BAD_INPUT, samples=(1, 3), batch_number=12)
        assert advice(place) == ("Look at sample 1, 3 of batch 12: batch.pt holds it.",)
        without = place.model_copy(update={"bundle": None})
        assert advice(without) == ("Look at sample 1, 3 of batch 12.",)

    def test_a_batch_whose_samples_cannot_be_told_apart_is_named(self) -> None:
        assert advice(record(CauseKind.BAD_INPUT)) == ("Look at the batch of step 3: batch.pt holds it.",)

    def test_every_update_of_a_stretch_names_its_rows_and_batches(self) -> None:
        later = (
            cause(CauseKind.BAD_INPUT, samples=(0,), dataset_indices=(7,)),
            *(cause(CauseKind.BAD_INPUT, samples=(2,), batch_number=20 + index) for index in range(10)),
        )
        base = record(CauseKind.BAD_INPUT, samples=(1,), dataset_indices=(40,))
        said = advice(base.model_copy(update={"later_causes": later}))
        assert said[0] == "Clean or leave out rows 40, 7 of the data set."
        assert said[2] == "Look at sample 2 of batch 20."
        assert said[-1] == "2 more of its batches are at fault: incident.json names them."

    @pytest.mark.parametrize("first", [CauseKind.BAD_INPUT, CauseKind.GRADIENT_EXPLOSION])
    def test_nothing_is_said_of_the_rate_where_the_data_are_at_fault(self, first: CauseKind) -> None:
        base = record(first, samples=(1,)).model_copy(
            update={
                "signals": (SignalName.LOSS_SPIKE, SignalName.DIVERGENCE),
                "later_causes": (cause(CauseKind.BAD_INPUT, samples=(4,), batch_number=9),),
                "decisions": decided(ActionName.SKIP_BATCH, ActionName.LOWER_LR),
            }
        )
        for cured_by in (ActionName.LOWER_LR, ActionName.RELOAD_CHECKPOINT):
            said = advice(base.model_copy(update={"cured_by": cured_by}))
            assert any("Look at sample 4 of batch 9" in line for line in said)
            assert not any("rate" in line and "peak" in line for line in said)
            assert not any("left their usual range" in line for line in said)

    def test_large_batches_that_were_skipped_differ_from_those_that_came_after(self) -> None:
        base = record(CauseKind.GRADIENT_EXPLOSION, batch_number=4)
        skipped = base.model_copy(
            update={
                "decisions": decided(ActionName.SKIP_BATCH, ActionName.SKIP_BATCH),
                "later_causes": (cause(CauseKind.GRADIENT_EXPLOSION, batch_number=5),),
            }
        )
        said = advice(skipped)
        assert said[0] == (
            "Look at what is in batch 4, 5, and clean it or leave it out: those that came after, from the same state, "
            "were healthy."
        )
        assert not any(" rate" in line for line in said)

    def test_an_earlier_batch_tells_the_data_from_the_state(self) -> None:
        for cured_by in (ActionName.LOWER_LR, ActionName.SKIP_BATCH):
            base = record(CauseKind.GRADIENT_EXPLOSION, batch_number=4, earlier_batch_healthy=True)
            said = advice(base.model_copy(update={"cured_by": cured_by}))
            assert said[0].endswith("an earlier batch was healthy in the same state.")
            assert not any(" rate" in line for line in said)
        base = record(CauseKind.GRADIENT_EXPLOSION, batch_number=4, earlier_batch_healthy=False)
        assert "lower its peak or warm up longer" in advice(base)[0]
        module = record(CauseKind.NONFINITE_ACTIVATION, operation="exp", batch_number=4, earlier_batch_healthy=True)
        assert "batch 4" in advice(module)[1]


class TestState:
    def test_what_spoilt_the_weights_is_to_be_looked_for(self) -> None:
        said = advice(record(CauseKind.POISONED_PARAMETER, parameter="head.weight"))
        assert said[0].startswith("head.weight was not finite before the step")
        assert "state_every_steps: 1" in said[1]

    def test_nothing_is_said_of_before_where_it_showed_after(self) -> None:
        (said,) = advice(record(CauseKind.POISONED_PARAMETER, parameter="head.weight", after_step=True))
        assert "state_every_steps: 1" in said

    def test_what_is_set_already_is_not_advised(self) -> None:
        names = {"parameter": "head.weight", "finite_before": True, "optimizer": "Adam", "eps": 1e-8}
        for after in (True, False):
            for dtype in ("float16", "float32"):
                said = advice(record(CauseKind.POISONED_PARAMETER, **names, after_step=after, dtype=dtype))
                assert not any("state_every_steps" in line for line in said)

    def test_a_half_type_is_answered_with_float32_weights_or_a_larger_eps(self) -> None:
        names = {"parameter": "w", "finite_before": True, "after_step": True, "optimizer": "Adam", "dtype": "float16"}
        (said,) = advice(record(CauseKind.POISONED_PARAMETER, **names, eps=1e-8))
        assert "Adam steps w in float16" in said
        assert "float32 master weights" in said
        assert "`eps=1e-4`" in said
        (plain,) = advice(record(CauseKind.POISONED_PARAMETER, **names))
        assert "eps=" not in plain

    def test_moments_are_not_mended_by_weights_alone(self) -> None:
        said = advice(record(CauseKind.POISONED_OPTIMIZER_STATE, parameter="w", state_key="exp_avg"))
        assert said[0].startswith("Restoring the weights alone does not help")

    @pytest.mark.parametrize("kind", [CauseKind.HIDDEN_STATE, CauseKind.NOT_REPRODUCIBLE])
    def test_what_no_state_holds_is_to_be_registered(self, kind: CauseKind) -> None:
        (said,) = advice(record(kind, attributes=("core.h",), deterministic=False))
        assert said.startswith("Register core.h as a buffer")


def test_a_program_that_differs_is_told_apart_from_a_fault_of_the_machine() -> None:
    assert "use_deterministic_algorithms" in advice(record(CauseKind.NOT_REPRODUCIBLE, deterministic=False))[0]
    once = advice(record(CauseKind.NOT_REPRODUCIBLE, deterministic=True))[0]
    assert "fault of the machine" in once
    assert "twice" not in once


def test_how_it_ended_gives_advice_too() -> None:
    base = record(CauseKind.GRADIENT_EXPLOSION, parameter="head.weight")
    cured = advice(base.model_copy(update={"cured_by": ActionName.LOWER_LR}))
    assert "lower peak rate" in cured[-1]
    halted = advice(base.model_copy(update={"outcome": Outcome.HALTED, "cured_by": None}))
    assert "supervisor resume RUN_DIR --after-halt" in halted[-1]
    diverged = advice(base.model_copy(update={"signals": (SignalName.DIVERGENCE,)}))
    assert "left their usual range" in diverged[-1]


def test_where_the_cause_is_not_known_it_says_how_to_find_out() -> None:
    unknown = record(CauseKind.BAD_INPUT).model_copy(update={"cause": None})
    assert advice(unknown)[0].startswith("The cause is not known: a warning in `supervisor events` says why")
    raised = unknown.model_copy(update={"signals": (SignalName.STEP_EXCEPTION,)})
    assert advice(raised) == ("Mend the exception.",)
    traced = raised.model_copy(update={"traceback": "Traceback"})
    assert advice(traced) == ("Mend `Traceback`; the traceback is in incident.json.",)
    where = 'Traceback\n  File "/home/me/mine.py", line 7, in loss\nTypeError: no'
    at_a_line = raised.model_copy(update={"traceback": where})
    said = "Mend `TypeError: no` at /home/me/mine.py:7 in loss; the traceback is in incident.json."
    assert advice(at_a_line) == (said,)
    assert "the diagnosis was on" in advice(unknown, diagnosed=True)[0]
    assert advice(unknown, diagnosed=False)[0].startswith("Nobody has looked for the cause: `diagnose: {enabled")


def test_an_exception_that_no_line_is_to_blame_for_is_told_with_what_helps() -> None:
    """By the table that preflight takes its hint from."""
    said = "ValueError: Expected more than 1 value per channel when training, got input size torch.Size([1, 8])"
    raised = cause(CauseKind.EXCEPTION, exception_type="ValueError", where="mine.py:7")
    known = record(CauseKind.EXCEPTION).model_copy(update={"cause": replace(raised, explanation=said)})
    (line,) = advice(known)
    assert line.startswith("A batch of a single row is too small for BatchNorm")
    assert line.endswith(f"{SMALL_BATCH}. (It was raised as the ValueError at mine.py:7.)")
    not_looked_into = known.model_copy(
        update={"cause": None, "signals": (SignalName.STEP_EXCEPTION,), "traceback": f"Traceback\n{said}"}
    )
    assert SMALL_BATCH in advice(not_looked_into)[0]


def test_a_cure_is_told_with_the_line_to_write() -> None:
    rows = (CureRow(cure="keep", score=9.0), CureRow(cure="reinitialize_flagged + clip 1.0 + lr 0.1", score=1.0))
    found = record(CauseKind.GRADIENT_EXPLOSION).model_copy(update={"cause": None, "cures": rows})
    assert advice(found)[0].startswith("No change of the set-up")
    chosen = (rows[0], rows[1].model_copy(update={"chosen": True}))
    (line,) = advice(found.model_copy(update={"cures": chosen}))
    for part in ("gradient_clip: {max_norm: 1.0}", "0.1 times the learning rate", "`initial_scale` names"):
        assert part in line


def test_what_only_a_job_can_do_is_not_advised_to_a_loop_of_ones_own() -> None:
    unseen = record(CauseKind.LOSS_FUNCTION).model_copy(update={"outcome": Outcome.HALTED, "cured_by": None})
    assert "`--replay`" in advice(unseen)[0]
    assert not any("--replay" in line or "--resume" in line for line in advice(unseen, of_job=False))
    assert "resume=True" in advice(unseen, of_job=False)[-1]
    without_files = unseen.model_copy(update={"bundle": Bundle("batch.pt", None)})
    assert not any("--replay" in line for line in advice(without_files))


def test_a_batch_of_a_plain_class_is_to_be_made_one_whose_fields_can_be_looked_into() -> None:
    said = wording.loss(Origin(None), 1, None, None, ["Batch"])
    found = record(CauseKind.LOSS_FUNCTION)
    assert found.cause is not None
    plain = found.model_copy(update={"cause": replace(found.cause, explanation=said)})
    assert any("a dataclass, a dict or a tuple" in line for line in advice(plain))
    assert not any("a dataclass" in line for line in advice(found))


def test_where_a_diagnosis_came_to_nothing_it_says_why_and_not_to_switch_it_on() -> None:
    unknown = record(CauseKind.BAD_INPUT).model_copy(update={"cause": None, "not_known": "it took too long"})
    assert advice(unknown) == ("The cause is not known: it took too long.",)
    why = Parts.of(replayed=False).executor.no_replay
    said = advice(unknown.model_copy(update={"not_known": why}))
    assert said[0] == f"The cause is not known: {why}."
    assert "`replay=loss_of`" in said[1]
    assert not any("enabled: true" in line for line in said)
