"""The numbers of a run, as a checkpoint carries them."""

from __future__ import annotations

from dataclasses import fields

import pytest
from support.parts import through_a_file

from supervisor.record.counters import Counters


def test_they_come_back_from_a_file() -> None:
    counters = Counters(3, 5, 2, 1, 1.5, 2.5, 0.25, 4)
    assert Counters.from_plain(through_a_file(counters.to_plain())) == counters
    assert len({getattr(counters, field.name) for field in fields(Counters)} - {0, None}) == 8


def test_a_run_begins_with_nothing_counted() -> None:
    assert set(Counters().to_plain().values()) == {0, None}


def test_what_only_an_earlier_version_counted_is_left_out() -> None:
    plain = {**Counters(step=7).to_plain(), "batches_outside": 9}
    assert Counters.from_plain(plain) == Counters(step=7)


@pytest.mark.parametrize("missing", [field.name for field in fields(Counters)])
def test_one_that_is_missing_is_told(missing: str) -> None:
    plain = Counters().to_plain()
    del plain[missing]
    with pytest.raises(KeyError, match=missing):
        Counters.from_plain(plain)
