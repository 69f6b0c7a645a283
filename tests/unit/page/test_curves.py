from __future__ import annotations

from typing import Any

from support.page_runs import step_event

from supervisor.events import schema
from supervisor.evidence import Blame, Evidence
from supervisor.page.curves import Curves
from supervisor.records import ActionName


def told(*events: Any) -> Curves:
    curves = Curves()
    for event in events:
        void, event = event if isinstance(event, tuple) else (False, event)
        curves.tell(event, void=void)
    return curves


def stands(curves: Curves) -> list[float]:
    return [curves.values["loss"][entry] for entry in curves.standing()]


def reload(step: int, restored: int, **more: Any) -> schema.ActionAppliedEvent:
    return schema.ActionAppliedEvent(
        step=step,
        update=step,
        incident=1,
        action=ActionName.RELOAD_CHECKPOINT,
        seconds=1,
        restored_step=restored,
        **more,
    )


def test_what_a_reload_went_back_over_is_kept_and_marked() -> None:
    before = [step_event(step, step, step) for step in range(5)]
    after = [step_event(step, step + 2, 10 + step) for step in range(3, 6)]
    curves = told(*before, reload(5, 3), *after)
    assert stands(curves) == [0, 1, 2, 13, 14, 15]
    assert [[curves.step[each] for each in stretch] for stretch in curves.gone_back_over()] == [[3, 4]]
    assert len(curves) == 8


def test_what_a_resume_made_void_does_not_stand() -> None:
    lost = [(True, step_event(step, step, 99)) for step in (2, 3)]
    resumed = schema.RunResumedEvent(step=2, update=2, checkpoint_step=2)
    curves = told(step_event(0, 0, 1), step_event(1, 1, 2), *lost, resumed, step_event(2, 2, 3))
    assert stands(curves) == [1, 2, 3]
    assert [*curves.gone_back_over()] == [range(2, 4)]


def test_two_stretches_that_follow_each_other_are_two() -> None:
    curves = told(step_event(5, 5, 1), reload(6, 5), step_event(5, 7, 2), reload(6, 5), step_event(5, 9, 3))
    assert stands(curves) == [3]
    assert [*curves.gone_back_over()] == [range(0, 1), range(1, 2)]


def test_a_stretch_that_was_undone_does_not_stand() -> None:
    evidence = Evidence(Blame.DATA, "harmed", gone_back_over=2)
    decision = schema.DecisionEvent(
        step=4, update=4, incident=1, rung=0, action=ActionName.SKIP_BATCH, attempt=1, reason="", evidence=evidence
    )
    assert stands(told(*(step_event(step, step, step) for step in range(4)), decision)) == [0, 1]


def test_other_ranks_do_not_count() -> None:
    event = step_event(0, 0, 1).model_copy(update={"rank": 3})
    assert len(told(event)) == 0


def test_the_nearest_entry() -> None:
    curves = told(*(step_event(step, step, step) for step in (10, 20, 30)))
    assert [curves.place(step) for step in (5, 10, 19, 20, 99)] == [0, 0, 0, 1, 2]
    assert told().place(3) is None


def test_the_scale_changes_where_an_event_says_so() -> None:
    cut = schema.ActionAppliedEvent(step=7, update=7, incident=1, action=ActionName.LOWER_LR, seconds=0, lr_scale=0.5)
    restored = schema.LrRestoredEvent(step=15, update=15, lr_scale=1.0)
    curves = told(step_event(0, 0, 1), cut, step_event(10, 10, 1, lr_scale=0.5), restored, step_event(20, 20, 1))
    assert curves.scale() == [(0, 1.0), (7, 0.5), (15, 1.0), (20, 1.0)]


def test_a_step_that_no_chart_can_count_to_is_left_out() -> None:
    assert stands(told(step_event(3, 3, 0.5), step_event(2**70, 4, 0.25))) == [0.5]
