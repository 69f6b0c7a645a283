"""What pydantic finds, in the words of the user: what is wrong, and what to write instead.

The models here have nothing of a policy or a job: what is particular to those, they say themselves.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from supervisor.config.fixes import problems_of, shown
from supervisor.config.origins import Origins, Problem
from supervisor.config.section import Conflict, FormatVersion, Section, conflict_error


class Colour(enum.StrEnum):
    RED = "red"
    GREEN = "green"


class Pair(Section):
    low: Annotated[int, Field(strict=True, ge=0, lt=10)] = 0
    high: Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise conflict_error(Conflict("low is above high", "swap them", ("low", "high")))
        return self


class Square(Section):
    noun = "shape"
    shape: Literal["square"] = "square"
    side: Annotated[int, Field(strict=True)]


class Circle(Section):
    noun = "shape"
    shape: Literal["circle"] = "circle"
    radius: int = 1


class Frame(Section):
    width: int = 1
    wood: Colour = Colour.RED


class Hanging(Section):
    enabled: bool = True
    height: int = 2


class Drawing(Section):
    unknown_key_hint = "; ask the painter"
    version: FormatVersion = 1
    title: Annotated[str, Field(strict=True, min_length=2, max_length=5, examples=["mine"])] = "mine"
    colour: Colour = Colour.RED
    framed: Annotated[bool, Field(strict=True)] = False
    pair: Pair = Pair()
    frame: Frame | None = None
    hanging: Hanging = Hanging()
    shapes: Annotated[
        tuple[Annotated[Square | Circle, Field(discriminator="shape")], ...], Field(min_length=1, max_length=2)
    ] = (Circle(),)


def found(raw: Any, model: type[BaseModel] = Drawing, origins: Origins | None = None) -> list[Problem]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(raw)
    return problems_of(caught.value, model, raw, origins or Origins("f"))


SQUARE = {"shape": "square", "side": 1}
MESSAGES: list[tuple[dict[Any, Any], str]] = [
    ({"colours": 1}, "colours: no such key: write `colour`"),
    (
        {"xyzzy": 1},
        "xyzzy: no such key: remove it, or write one of: colour, frame, framed, hanging, pair, shapes, title, version",
    ),
    ({"low": 1}, "low: no such key: write it under `pair`"),
    ({"radius": 1}, "radius: no such key: write it in a shape of the `shapes`"),
    ({"pair": {"title": "a"}}, "pair.title: no such key: write it at the top level"),
    ({"shapes": [{**SQUARE, "radius": 1}]}, "shapes.0.radius: no such key: remove it, or write one of: shape, side"),
    (
        {"frame": False},
        "frame: false is not a mapping: write `frame: null` to switch it off, or keys and values (width, wo",
    ),
    (
        {"frame": "off"},
        'frame: "off" is not a mapping: write `frame: null` to switch it off, or keys and values (width, ',
    ),
    (
        {"frame": []},
        "frame: a list is not a mapping: write `frame: null` to switch it off, or keys and values (width, wo",
    ),
    ({"frame": 7}, "frame: 7 is not a mapping: write keys and values (width, wood), or `frame: null` to switch it off"),
    (
        {"frame": {"enabled": False}},
        "frame.enabled: no such key: write `frame: null` to switch it off; to have it on, rem",
    ),
    ({"pair": {"enabled": False}}, "pair.enabled: no such key: remove it, or write one of: high, low"),
    ({"enabled": False}, "enabled: no such key: remove it, or write one of: colour"),
    (
        {"hanging": False},
        "hanging: false is not a mapping: write `hanging: {enabled: false}` to switch it off, or keys a",
    ),
    ({"hanging": {"enable": False}}, "hanging.enable: no such key: write `enabled`"),
    ({"frame": {"radius": "red"}}, "frame.radius: no such key: remove it, or write one of: width, wood"),
    ({"frame": {"radius": 2}}, "frame.radius: no such key: write it in a shape of the `shapes`"),
    ({5: 1}, "5: 5 is a number, not a name: write a name as the key"),
    ({"version": 2}, "version: 2 is not a version of this format: write `version: 1`"),
    ({"version": "1"}, 'version: "1" is not a version of this format: write `version: 1`'),
    ({"title": 5}, "title: 5 is not text: write `title: mine`"),
    ({"title": "a"}, "title: is too short: write at least 2 characters"),
    ({"title": "abcdef"}, "title: is too long: write at most 5 characters"),
    ({"colour": "Gren"}, 'colour: "Gren" is not one of its values: write `green` (one of: red, green)'),
    ({"colour": 5}, "colour: 5 is not one of its values: write one of: red, green"),
    ({"framed": "yes"}, 'framed: "yes" is not true or false: write `true` or `false`, without quotes'),
    ({"pair": None}, "pair: is empty: write its keys below it (low, high), or leave `pair` out"),
    ({"pair": 5}, "pair: 5 is not a mapping: write keys and values (low, high)"),
    ({"pair": {"low": -1}}, "pair.low: -1 is too small: write `low: 0` or more"),
    ({"pair": {"low": 10}}, "pair.low: 10 is too large: write a number below 10"),
    (
        {"pair": {"low": "5"}},
        'pair.low: "5" is text, not a whole number: write a whole number from 0 to less than 10, wi',
    ),
    ({"pair": {"low": None}}, "pair.low: is empty: write a whole number from 0 to less than 10, or leave `low` out"),
    ({"pair": {"low": 1.0}}, "pair.low: 1.0 is not a whole number: write a whole number from 0 to less than 10"),
    ({"pair": {"high": 0}}, "pair.high: 0 is too small: write a number above 0"),
    ({"pair": {"high": 2}}, "pair.high: 2 is too large: write `high: 1` or less"),
    ({"pair": {"high": True}}, "pair.high: true is not a number: write a number above 0, up to 1"),
    ({"pair": {"high": float("nan")}}, "pair.high: nan is not finite: write a number above 0, up to 1"),
    ({"pair": {"high": 10**400}}, "pair.high: a huge number is too large: write a number above 0, up to 1"),
    ({"pair": {"low": 5}}, "pair.low: low is above high: swap them"),
    ({"shapes": {}}, "shapes: a mapping is not a list: write its items below it, each after a `- `"),
    ({"shapes": None}, "shapes: is empty: write its items below it, each after a `- `, or leave `shapes` out"),
    ({"shapes": []}, "shapes: has 0 items: write at least 1"),
    ({"shapes": [{"shape": "circle"}] * 3}, "shapes: has 3 items: write at most 2"),
    ({"shapes": ["circle"]}, 'shapes.0: "circle" is text, not a shape: write {shape: circle}'),
    ({"shapes": [{}]}, "shapes.0: has no shape: write `shape:` with one of: square, circle"),
    (
        {"shapes": [{"shape": "sqare"}]},
        'shapes.0.shape: "sqare" is not a shape: write `square` (one of: square, circle)',
    ),
    ({"shapes": [{"shape": "square"}]}, "shapes.0.side: is missing: write `side: ...`"),
    ({"shapes": [{**SQUARE, "square": 1}]}, "shapes.0.square: no such key: remove it, or write one of: shape, side"),
]


@pytest.mark.parametrize(("raw", "message"), MESSAGES, ids=[message.partition(": ")[0] for _, message in MESSAGES])
def test_a_mistake_is_told_with_its_fix(raw: dict[Any, Any], message: str) -> None:
    (problem,) = found(raw)
    assert str(problem).startswith(f"f: {message}")


def test_a_key_named_as_its_own_kind_leads_nobody_astray() -> None:
    problems = found({"shapes": [{"shape": "square", "square": {}, "side": "x"}]})
    assert {problem.path for problem in problems} == {("shapes", 0, "square"), ("shapes", 0, "side")}


def test_a_version_of_something_else_is_a_number_like_any_other() -> None:
    class Trainer(BaseModel):
        version: Annotated[int, Field(strict=True, le=9)] = 1

    (problem,) = found({"version": 10}, Trainer)
    assert str(problem) == "f: version: 10 is too large: write `version: 9` or less"


def test_a_conflict_is_reported_at_the_key_that_is_written() -> None:
    class Wide(Section):
        pair: Pair = Pair(low=1)

    def line(*written: str) -> str:
        lines = {("pair", key): number for number, key in enumerate(written, 2)}
        origins = Origins("f", {(): 1, ("pair",): 1, **lines})
        raw = {"pair": {key: {"low": 5, "high": 0.5}[key] for key in written}}
        return found(raw, Wide, origins)[0].place.text

    assert line("low") == "f:2"
    assert line("high", "low") == "f:3"


def test_a_conflict_is_reported_at_the_key_that_a_flag_has_set() -> None:
    lines = {(): 1, ("pair",): 1, ("pair", "low"): 2, ("pair", "high"): 3}
    origins = Origins("f", lines).with_flag(("pair", "high"), "--set pair.high=0.5")
    (problem,) = found({"pair": {"low": 5, "high": 0.5}}, Drawing, origins)
    assert str(problem) == "--set pair.high=0.5: low is above high: swap them"


@pytest.mark.parametrize(
    ("raw", "section"),
    [
        ({"pair": {"low": 5}}, ("pair",)),
        ({"shapes": [{"shape": "square"}]}, ("shapes", 0)),
        ({"shapes": [{}]}, ("shapes", 0)),
        ({"pair": {"low": -1}}, None),
        ({"colours": 1}, None),
    ],
)
def test_what_another_key_may_put_right_is_told_apart(raw: dict[str, Any], section: tuple[object, ...] | None) -> None:
    (problem,) = found(raw)
    assert problem.section == section


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ("a", '"a"'),
        ("x" * 50, f'"{"x" * 37}..."'),
        ({}, "a mapping"),
        ((), "a list"),
        (10**20, "a huge number"),
        (1.5, "1.5"),
    ],
)
def test_values_are_shown_as_they_are_written(value: Any, text: str) -> None:
    assert shown(value) == text


class Aliased(Section):
    colour_name: Colour | None = Field(None, alias="colour")
    amount: Annotated[int, Field(strict=True, ge=1, validation_alias=AliasChoices("count", "n"))] = 1
    inner: Pair | None = Field(None, alias="pair")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"colour": "blue"}, 'colour: "blue" is not one of its values: write one of: red, green'),
        ({"colour_name": "red"}, "colour_name: no such key: write `colour`"),
        ({"nothing": 1}, "nothing: no such key: remove it, or write one of: colour, count, pair"),
        ({"count": 0}, "count: 0 is too small: write `count: 1` or more"),
        ({"pair": {"lo": 1}}, "pair.lo: no such key: write `low`"),
        ({"low": 1}, "low: no such key: write it under `pair`"),
    ],
)
def test_a_key_is_named_as_it_is_written_and_not_as_the_field_behind_it(raw: dict[str, Any], said: str) -> None:
    assert [str(each) for each in found(raw, Aliased)] == [f"f: {said}"]


class Sizes(BaseModel):
    """As a trainer of the user's has it: with an alias, and with rules that raise in words of their own."""

    model_config = ConfigDict(extra="forbid")
    preset_name: Literal["small", "large"] | None = Field(None, alias="preset")
    width: int = 8
    depth: int = 8

    @field_validator("width")
    @classmethod
    def _even(cls, width: int) -> int:
        if width % 2:
            raise ValueError("write an even number")
        return width

    @model_validator(mode="after")
    def _flat(self) -> Self:
        if self.depth > self.width:
            raise ValueError(f"depth: {self.depth} is more than the width: write {self.width} or less")
        return self


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"preset": "larg"}, 'preset: "larg" is not one of its values: write `large` (one of: small, large)'),
        ({"preset": ["small"]}, "preset: a list is not one of its values: write `small` (one of: small, large)"),
        ({"preset_name": "small"}, "preset_name: no such key: write `preset`"),
        ({"colour": "red"}, "colour: no such key: remove it, or write one of: depth, preset, width"),
        ({"width": 7}, "width: 7 does not fit: write an even number"),
        ({"depth": 9}, "depth: 9 is more than the width: write 8 or less"),
    ],
)
def test_a_model_of_the_users_is_spoken_of_in_its_own_words(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Sizes.model_validate(raw)
    (problem,) = problems_of(caught.value, Sizes, raw, Origins("job.yaml"))
    assert str(problem) == f"job.yaml: {message}"


def test_a_key_that_a_validator_names_is_looked_up_where_it_was_written() -> None:
    origins = Origins("job.yaml", {("depth",): 3, ("width",): 2}).with_flag(("depth",), "--set config.depth=9")
    with pytest.raises(ValidationError) as caught:
        Sizes.model_validate({"width": 8, "depth": 9})
    (problem,) = problems_of(caught.value, Sizes, {"width": 8, "depth": 9}, origins, prefix=("config",))
    assert str(problem) == "--set config.depth=9: 9 is more than the width: write 8 or less"
