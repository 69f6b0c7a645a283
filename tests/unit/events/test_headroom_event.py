"""The event of a forecast says in one line what grows, how fast, and when it is past its bound."""

from __future__ import annotations

import pytest

from supervisor.events import schema
from supervisor.events.headroom_event import HeadroomEvent, describe_headroom
from supervisor.events.narration import Narrator
from supervisor.events.speech import Speaker
from supervisor.headroom import Forecast, Quantity

FORECAST = Forecast(Quantity.WEIGHT_NORM, "head.weight", 4.125, 12.3, 0.0091, 120)


def event_of(**changes: object) -> HeadroomEvent:
    return HeadroomEvent.from_forecast(FORECAST, step=40, update=41).model_copy(update=changes)


def test_it_holds_all_of_the_forecast() -> None:
    event = event_of()
    assert (event.step, event.update) == (40, 41)
    assert (event.quantity, event.parameter, event.value, event.bound) == ("weight_norm", "head.weight", 4.125, 12.3)
    assert (event.slope, event.horizon, event.others, event.bits) == (0.0091, 120, 0, None)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {},
            "the norm of head.weight grows by 0.91 % an update: from 4.12 past 12.3 in 120 updates, if it goes on",
        ),
        (
            {"quantity": Quantity.LARGEST_WEIGHT, "others": 2},
            "the largest number in head.weight grows by 0.91 % an update, and 2 more: "
            "from 4.12 past 12.3 in 120 updates, if it goes on",
        ),
        (
            {"quantity": Quantity.HALF_RANGE, "bound": 65504.0},
            "the largest number in head.weight, of 16 bits, grows by 0.91 % an update: "
            "from 4.12 past 6.55e+04 in 120 updates, if it goes on",
        ),
        (
            {"quantity": Quantity.GRADIENT_NORM},
            "the gradient norm grows by 0.91 % an update, most of it in head.weight: "
            "from 4.12 past 12.3 in 120 updates, if it goes on",
        ),
    ],
)
def test_its_words(changes: dict[str, object], line: str) -> None:
    assert describe_headroom(event_of(**changes)) == line


def test_it_is_a_line_of_the_console_and_of_a_guard_alike() -> None:
    said: list[str] = []
    Speaker(said.append)(event_of())
    (line,) = said
    assert line == f"step 40  headroom: {describe_headroom(event_of())}"
    assert [each.text for each in Narrator().tell(event_of())] == [line]


def test_a_name_from_the_model_cannot_break_the_line() -> None:
    (line,) = Narrator().tell(event_of(parameter="a\nb\x1b[2J"))
    assert "\n" not in line.text
    assert "\x1b" not in line.text


def test_it_is_read_back_by_its_name() -> None:
    event = event_of().model_copy(update={"run_id": "r"})
    assert schema.parse_event(event.model_dump_json(by_alias=True)) == event
