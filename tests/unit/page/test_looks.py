from __future__ import annotations

import itertools

import pytest

from supervisor.page.looks import DARK, LIGHT, SHAPES, SIGNS, css_variables, rung_color
from supervisor.records import ActionName

TEXT = ("ink", "quiet", "accent", "good", "bad")
DRAWN = ("curve", *(str(action) for action in ActionName), *(f"run{index}" for index in range(7)))


def luminance(color: str) -> float:
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_what_is_read_and_what_is_drawn_stand_out(theme: dict[str, str]) -> None:
    for ground, name in itertools.product(("ground", "panel"), TEXT):
        assert contrast(theme[name], theme[ground]) >= 4.5, (name, ground)
    for name in DRAWN:
        assert contrast(theme[name], theme["ground"]) >= 3, name


def test_every_rung_has_a_shape_a_sign_and_a_colour_of_its_own() -> None:
    for each in (SHAPES, SIGNS):
        assert each.keys() == set(ActionName)
        assert len(set(each.values())) == len(ActionName)
    for theme in (LIGHT, DARK):
        assert len({theme[str(action)] for action in ActionName}) == len(ActionName)
    assert rung_color(ActionName.HALT) == "color:halt"
    assert rung_color(None) == "color:process"


def test_both_themes_name_the_same_colours() -> None:
    assert LIGHT.keys() == DARK.keys()
    assert "--start-up: #3d9cd2;" in css_variables(LIGHT)
