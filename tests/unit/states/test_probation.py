"""Which states are good: counted lazily, and the same as when every healthy step is counted at once."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from supervisor.checkpoints import Kept
from supervisor.states.probation import Probation


def test_a_state_is_good_after_its_healthy_steps_and_not_before() -> None:
    probation = Probation(3)
    probation.add(Kept(10, 12, good=False))
    assert [probation.healthy_step() for _ in range(3)] == [False, False, True]
    assert probation.passed() == [Kept(10, 12, good=False, healthy_steps=3)]
    probation.promote(12)
    assert [*probation] == [Kept(10, 12, good=True, healthy_steps=3)]
    assert not probation.healthy_step()


def test_a_flagged_update_makes_them_count_anew() -> None:
    probation = Probation(2)
    probation.add(Kept(1, 1, good=False))
    probation.add(Kept(0, 0, good=True))
    probation.healthy_step()
    probation.begin_anew()
    assert [probation.healthy_step() for _ in range(2)] == [False, True]
    probation.begin_anew(1)
    assert probation.passed() == []
    assert probation[0].good


def test_without_a_probation_a_state_is_good_at_once() -> None:
    assert Probation(0).add(Kept(5, 5, good=False)).good


def test_a_state_that_is_taken_over_goes_on_where_it_stood() -> None:
    probation = Probation(5)
    probation.add(Kept(1, 1, good=False, healthy_steps=4))
    assert probation.healthy_step()
    assert 1 in probation
    probation.remove(1)
    assert 1 not in probation


def test_those_to_let_go_are_the_older_good_ones_among_those_that_are_asked_about() -> None:
    probation = Probation(5)
    for update in (1, 2, 3):
        probation.add(Kept(update, update, good=True))
    assert [kept.update for kept in probation.surplus(1)] == [1, 2]
    assert [kept.update for kept in probation.surplus(1, frozenset({1, 2}))] == [1]


@given(
    steps=st.integers(0, 4),
    events=st.lists(st.one_of(st.just("healthy"), st.just("flagged"), st.booleans()), max_size=40),
)
def test_counting_lazily_gives_what_counting_at_once_gives(steps: int, events: list[str | bool]) -> None:
    probation, plain = Probation(steps), {}
    for number, event in enumerate(events):
        if isinstance(event, bool):
            probation.add(Kept(number, number, good=event))
            plain[number] = Kept(number, number, good=event or steps == 0)
        elif event == "flagged":
            probation.begin_anew()
            plain = {n: kept if kept.good else replace(kept, healthy_steps=0) for n, kept in plain.items()}
        else:
            passed = probation.healthy_step()
            plain = {
                n: kept if kept.good else replace(kept, healthy_steps=kept.healthy_steps + 1)
                for n, kept in plain.items()
            }
            ready = [n for n, kept in plain.items() if not kept.good and kept.healthy_steps >= steps]
            assert passed is bool(ready)
            for n in ready:
                probation.promote(n)
                plain[n] = replace(plain[n], good=True)
        assert [*probation] == [*plain.values()]
