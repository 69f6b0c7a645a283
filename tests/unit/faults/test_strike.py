"""What a glob that matches nothing is answered with."""

from __future__ import annotations

from supervisor.errors import InputError
from supervisor.faults.strike import unmatched

NAMES = ("encoder.weight", "encoder.bias", "head.weight", "head.bias")


def test_the_nearest_names_are_offered() -> None:
    error = unmatched("parameter", "haed.weight", NAMES)
    assert isinstance(error, InputError)
    said, _, offered = str(error).partition("write one of: ")
    assert said == "faults: parameter: 'haed.weight' matches no parameter: "
    assert offered.split(", ")[0] == "head.weight"


def test_where_none_is_near_the_first_are_offered() -> None:
    assert str(unmatched("module", "zzz", iter(NAMES))).endswith("encoder.weight, encoder.bias, head.weight")
