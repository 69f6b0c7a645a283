"""What of the training stands, and what was for nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.report.kept_work import KeptWork


def work_of(*settled: tuple[float, float, float]) -> KeptWork:
    """Each: seconds that pass, steps by then, seconds in updates by then."""
    work = KeptWork()
    for pending, step, applied in settled:
        work.pending += pending
        work.settle(step, applied)
    return work


def test_what_no_update_took_is_the_rest() -> None:
    work = work_of((10, 10, 8.0), (5, 20, 12.0))
    assert (work.kept, work.rest, work.wasted) == (12.0, 3.0, 0.0)


def test_going_back_loses_its_share_of_the_steps() -> None:
    work = work_of((10, 10, 10.0), (10, 20, 20.0))
    work.back_to(15)
    assert (work.kept, work.wasted) == (15.0, 5.0)
    work.back_to(15)
    assert (work.kept, work.wasted) == (15.0, 5.0), "what is lost is lost once"
    work.pending = 4.0
    work.settle(19, 24.0)
    assert (work.kept, work.wasted) == (19.0, 5.0)


def test_steps_within_a_stretch_are_lost_without_those_around_them() -> None:
    work = work_of((10, 10, 10.0))
    work.lose(4, 6)
    assert (work.kept, work.wasted) == (8.0, 2.0)


def test_the_tail_of_a_process_that_is_gone_is_lost_with_the_resume() -> None:
    work = work_of((10, 10, 10.0))
    work.pending = 3.0
    work.settle_tail()
    assert (work.kept, work.wasted) == (13.0, 0.0)
    work.back_to(10)
    assert (work.kept, work.wasted) == (10.0, 3.0)


def test_a_discarded_update_is_wasted_out_of_what_no_update_took() -> None:
    work = KeptWork()
    work.pending = 12.0
    work.flagged(4)
    work.settle(10, 9.0)
    assert (work.kept, work.wasted, work.rest) == (9.0, 1.0, 2.0)


def test_another_process_counts_its_updates_from_zero() -> None:
    work = work_of((10, 10, 10.0))
    work.begin_life()
    work.pending = 4.0
    work.settle(14, 4.0)
    assert work.kept == 14.0


def test_without_what_updates_took_the_mean_tells_as_far_as_there_is_time() -> None:
    work = KeptWork()
    work.mean_seconds = 0.5
    work.pending = 10.0
    work.settle(10)
    assert (work.kept, work.rest) == (5.0, 5.0)
    work.pending = 1.0
    work.settle(20)
    assert (work.kept, work.rest) == (6.0, 5.0)


steps = st.integers(0, 50)
seconds = st.floats(0, 100)
verbs = st.one_of(
    st.tuples(st.just("pend"), seconds),
    st.tuples(st.just("settle"), steps, st.none() | seconds | st.just(math.nan)),
    st.tuples(st.just("settle_tail")),
    st.tuples(st.just("back_to"), steps),
    st.tuples(st.just("lose"), steps, steps),
    st.tuples(st.just("flagged"), steps),
    st.tuples(st.just("begin_life")),
)


@given(st.lists(verbs, max_size=30))
def test_no_time_is_made_or_lost(told: list[tuple[str, float]]) -> None:
    work, passed = KeptWork(), 0.0
    for verb, *arguments in told:
        if verb == "pend":
            work.pending += arguments[0]
            passed += arguments[0]
        else:
            getattr(work, verb)(*arguments)
        parts = (work.pending, work.rest, work.wasted, work.kept)
        assert min(parts) >= -1e-9
        assert math.fsum(parts) == pytest.approx(passed)
