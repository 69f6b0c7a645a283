"""Which of the cures that were tried is taken, by their scores alone."""

from __future__ import annotations

import math

from support.parts import Parts

from supervisor.guard.cure_choice import AT_MOST, chosen_trial, to_look_at_longer
from supervisor.guard.cure_trials import Trial
from supervisor.policy import Cure, TryCuresRung
from supervisor.states.restore_points import RestorePoint

RUNG = TryCuresRung()
POINT = RestorePoint(4, 4, 4, 0.0, Parts.of().subject.capture(), {})


def trial(
    label: str, score: float, *, start: float = 2.0, zeros: float | None = 2.0, longer: float | None = None
) -> Trial:
    cure = None if label == "keep" else Cure(lr=0.5)
    return Trial(label, cure, POINT, start, zeros, score, longer)


KEEP = trial("keep", math.inf)


def chosen(*done: Trial) -> str | None:
    found = chosen_trial(done, RUNG)
    return None if found is None else found.label


def looked_at(*done: Trial) -> list[str]:
    return [each.label for each in to_look_at_longer(done, RUNG)]


def test_the_first_of_those_that_are_as_good_as_the_best_is_chosen() -> None:
    assert chosen(KEEP, trial("a", 1.9), trial("b", 0.6), trial("c", 0.5)) == "b"


def test_between_them_a_longer_look_decides() -> None:
    assert looked_at(KEEP, trial("a", 1.9), trial("b", 0.6), trial("c", 0.5)) == ["b", "c"]
    assert chosen(KEEP, trial("a", 1.9), trial("b", 0.6, longer=0.4), trial("c", 0.5, longer=0.1)) == "c"
    assert chosen(KEEP, trial("a", 1.9), trial("b", 0.6, longer=0.1), trial("c", 0.5, longer=0.105)) == "b"


def test_where_none_of_them_lasts_the_first_look_counts() -> None:
    assert chosen(KEEP, trial("b", 0.6, longer=math.inf), trial("c", 0.5, longer=math.inf)) == "b"


def test_one_that_is_far_better_is_not_looked_at_again() -> None:
    assert looked_at(KEEP, trial("a", 1.9), trial("c", 0.5)) == []


def test_where_changing_nothing_is_as_good_nothing_is() -> None:
    assert looked_at(trial("keep", 0.5), trial("b", 0.5), trial("c", 0.49)) == []
    assert chosen(trial("keep", 0.5), trial("b", 0.5)) is None


def test_no_more_than_a_few_are() -> None:
    close = [trial(f"{number}", 0.5 - 0.001 * number) for number in range(AT_MOST + 3)]
    assert looked_at(KEEP, *close) == [f"{number}" for number in range(3, AT_MOST + 3)]


def test_what_loses_what_its_state_could_do_is_no_cure() -> None:
    assert chosen(KEEP, trial("a", 3.0, start=1.0)) is None
