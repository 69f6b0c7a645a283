"""A document against a model: what it says, or all that is wrong with it."""

from __future__ import annotations

from supervisor.config.check import check
from supervisor.config.section import Count, Section
from supervisor.config.yaml_source import parse_yaml


class Inner(Section):
    size: Count = 1


class Outer(Section):
    name: str
    inner: Inner = Inner()


def problems(text: str, prefix: tuple[str, ...] = ()) -> list[str]:
    found, wrong = check(Outer, parse_yaml(text, "f"), "`name: mine`", prefix=prefix)
    assert (found is None) == bool(wrong)
    return [str(each) for each in wrong]


def test_a_sound_document_is_its_model() -> None:
    found, wrong = check(Outer, parse_yaml("name: a\ninner: {size: 2}\n", "f"), "`name: mine`")
    assert found == Outer(name="a", inner=Inner(size=2))
    assert wrong == []


def test_what_is_no_mapping_is_told_with_an_example() -> None:
    assert problems("") == ["f:1: is empty: write at least `name: mine`"]
    assert problems("\n- 5\n") == ["f:2: a list is not a mapping: write keys and values, as `name: mine`"]
    assert problems("name:5") == ['f:1: "name:5" is not a mapping: write keys and values, as `name: mine`']


def test_mistakes_of_the_yaml_and_of_the_values_come_together() -> None:
    assert [each.split(": ")[:2] for each in problems("inner:\n  size: 0\n  size: 1\nnam: a\n")] == [
        ["f:3", "inner.size"],
        ["f:1", "name"],
        ["f:2", "inner.size"],
        ["f:4", "nam"],
    ]


def test_a_value_that_could_not_be_read_is_told_of_once() -> None:
    assert problems("name: !x a\n") == ["f:1: name: the tag `!x` is not allowed: remove it and write plain values"]
    assert problems("!x {}\n") == ["f:1: the tag `!x` is not allowed: remove it and write plain values"]


def test_a_prefix_is_added_to_every_key() -> None:
    assert problems("inner: {size: 0}\nname: a\n", ("outer",)) == [
        "f:1: outer.inner.size: 0 is too small: write `size: 1` or more"
    ]
