"""The engine's memory by itself: what it says of cuts and rungs, and how it goes into a checkpoint and back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from supervisor.engine import BadBatches, EngineState, LearningRateCut, OpenIncident

BUSY = EngineState(
    clock=9,
    incidents=2,
    incident=OpenIncident(2, 1, (3, 1), healthy_steps=4, retried=True, excused=3),
    uses=((5, 8), (9,)),
    cuts=(LearningRateCut(1, 1, 0.5, 70), LearningRateCut(2, 1, 0.25, 200)),
    furthest_restored_step=40,
    restores=(0, 2),
    stepped_since_restore=True,
    bad=BadBatches(recent=((5, 1), (8, 2)), in_a_row=2, since=8, total=7, retried=4),
)


def test_the_scale_is_the_product_of_the_cuts_and_one_without() -> None:
    assert BUSY.lr_scale == 0.125
    assert EngineState().lr_scale == 1.0


def test_the_rung_is_that_of_the_open_incident() -> None:
    assert BUSY.rung == 1
    assert EngineState().rung is None


def test_a_tick_moves_the_clock_alone() -> None:
    assert BUSY.tick() == replace(BUSY, clock=10)


class TestRestored:
    def test_going_back_no_further_than_before_counts_for_the_rung(self) -> None:
        for step in (40, 3):
            after = BUSY.restored(1, step)
            assert (after.restores, after.furthest_restored_step) == ((0, 3), 40)

    def test_progress_begins_the_count_anew(self) -> None:
        after = BUSY.restored(0, 41)
        assert (after.restores, after.furthest_restored_step) == ((1, 0), 41)

    def test_a_rung_that_never_went_back_is_given_its_place(self) -> None:
        assert EngineState().restored(2, 0).restores == (0, 0, 1)

    def test_no_healthy_step_has_followed_yet_and_the_rest_stays(self) -> None:
        after = BUSY.restored(1, 40)
        assert after == replace(BUSY, restores=(0, 3), stepped_since_restore=False)


def test_a_new_ladder_keeps_cuts_and_counts_and_forgets_the_position() -> None:
    fresh = BUSY.for_new_ladder()
    assert (fresh.clock, fresh.incidents, fresh.cuts) == (BUSY.clock, BUSY.incidents, BUSY.cuts)
    assert (fresh.incident, fresh.uses, fresh.restores, fresh.furthest_restored_step) == (None, (), (), -1)
    assert fresh.bad == BadBatches(total=BUSY.bad.total)


def test_after_a_halt_that_was_mended_the_counts_alone_stay() -> None:
    fresh = BUSY.after_halt()
    assert BUSY.cuts
    assert fresh == EngineState(clock=BUSY.clock, incidents=BUSY.incidents, bad=BadBatches(total=BUSY.bad.total))


def test_the_memory_of_a_version_without_experiments_has_no_bad_batches() -> None:
    plain = BUSY.to_plain()
    del plain["bad"], plain["incident"]["excused"]
    back = EngineState.from_plain(plain)
    assert back.bad == BadBatches()
    assert back.incident is not None
    assert (back.incident.id, back.incident.excused) == (2, 0)


def test_it_comes_back_equal() -> None:
    assert EngineState.from_plain(BUSY.to_plain()) == BUSY
    assert EngineState.from_plain(EngineState().to_plain()) == EngineState()


def test_lists_do_as_well_as_tuples() -> None:
    def listed(value: object) -> object:
        if isinstance(value, dict):
            return {key: listed(each) for key, each in value.items()}
        return [listed(each) for each in value] if isinstance(value, tuple) else value

    back = EngineState.from_plain(listed(BUSY.to_plain()))  # type: ignore[arg-type]
    assert back == BUSY
    assert hash(back) == hash(BUSY)


def test_it_holds_plain_values_alone() -> None:
    def kinds(value: object) -> set[type]:
        if isinstance(value, dict):
            return set().union(*(kinds(each) for each in value.values()), {type(key) for key in value})
        if isinstance(value, tuple):
            return set().union(*map(kinds, value)) if value else set()
        return {type(value)}

    assert kinds(BUSY.to_plain()) <= {int, float, str, bool}


@pytest.mark.parametrize("missing", ["clock", "incident", "cuts", "restores"])
def test_a_missing_field_is_refused(missing: str) -> None:
    plain = BUSY.to_plain()
    del plain[missing]
    with pytest.raises(KeyError):
        EngineState.from_plain(plain)
