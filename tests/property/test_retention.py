"""Which states are let go, for any states."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.checkpoints import Kept, surplus

KEPT = st.builds(
    Kept, step=st.integers(0, 50), update=st.integers(0, 80), good=st.booleans(), healthy_steps=st.integers(0, 5)
)
HELD = st.lists(KEPT, unique_by=lambda kept: kept.update, max_size=20)
KEEP = st.integers(0, 6)


def good_of(held: list[Kept]) -> list[Kept]:
    return sorted((kept for kept in held if kept.good), key=lambda kept: kept.update)


@given(HELD, KEEP)
def test_the_newest_good_ones_stay(held: list[Kept], keep: int) -> None:
    gone = surplus(held, keep)
    stay = [kept for kept in held if kept not in gone]
    assert good_of(stay) == good_of(held)[-max(keep, 1) :]


@given(HELD, KEEP)
def test_only_what_is_held_goes_and_only_once(held: list[Kept], keep: int) -> None:
    gone = surplus(held, keep)
    assert set(gone) <= set(held)
    assert len(set(gone)) == len(gone)


@given(HELD, KEEP)
def test_what_stays_does_not_go_the_next_time(held: list[Kept], keep: int) -> None:
    gone = surplus(held, keep)
    assert surplus([kept for kept in held if kept not in gone], keep) == []


@given(HELD, KEEP, st.randoms())
def test_the_order_does_not_matter(held: list[Kept], keep: int, shuffler: object) -> None:
    mixed = list(held)
    shuffler.shuffle(mixed)  # type: ignore[attr-defined]
    assert set(surplus(mixed, keep)) == set(surplus(held, keep))


@given(HELD, KEEP)
def test_a_state_on_probation_goes_only_if_newer_ones_are_promoted_with_it(held: list[Kept], keep: int) -> None:
    for kept in surplus(held, keep):
        if not kept.good:
            together = [o for o in held if not o.good and o.healthy_steps == kept.healthy_steps]
            assert sum(other.update > kept.update for other in together) >= max(keep, 1)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_letting_go_early_loses_nothing_that_would_have_stayed(
    healthy: list[bool], keep: int, probation: int, every: int
) -> None:
    """A run of healthy and flagged steps that takes a state every so often, with and without letting go early."""

    def run(let_go: bool) -> list[int]:
        held = [Kept(0, 0, True)]
        for step, well in enumerate(healthy, 1):
            counted = []
            for kept in held:
                count = kept.healthy_steps + 1 if well else 0
                promoted = kept.good or count >= probation
                counted.append(Kept(kept.step, kept.update, promoted, 0 if promoted else count))
            held = counted
            if well and step % every == 0:
                held.append(Kept(step, step, False))
            gone = surplus(held, keep)
            held = [kept for kept in held if kept not in gone or not (kept.good or let_go)]
        return [kept.update for kept in good_of(held)]

    assert run(let_go=True) == run(let_go=False)
