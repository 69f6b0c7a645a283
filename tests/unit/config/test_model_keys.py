"""Which keys a model takes: as they are written, with what may stand there, and where."""

from __future__ import annotations

import enum
from typing import Literal

from pydantic import BaseModel, Field

from supervisor.config.model_keys import all_paths, choices_of, keys_of, models_in, tag_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    kind: Literal["leaf"] = "leaf"
    colour: Colour | None = None


class Tree(BaseModel):
    tree_name: Literal["oak", "elm"] | None = Field(None, alias="name")
    leaves: list[Leaf] = []
    branches: list[Tree] = []


def test_a_field_with_an_alias_is_written_by_it() -> None:
    assert list(keys_of(Tree)) == ["name", "leaves", "branches"]
    assert choices_of(keys_of(Tree)["name"]) == ["oak", "elm"]


def test_choices_and_models_are_found_within_other_types() -> None:
    assert choices_of(keys_of(Leaf)["colour"]) == ["red", "blue"]
    assert models_in(keys_of(Tree)["leaves"]) == [Leaf]
    assert (choices_of(None), models_in(None)) == ([], [])


def test_a_model_with_a_key_of_one_value_is_told_by_it() -> None:
    assert tag_of(Leaf) == ("kind", "leaf")
    assert tag_of(Tree) == ("", "")


def test_a_model_that_holds_itself_is_entered_once() -> None:
    paths = [".".join(map(str, path)) for path, _ in all_paths(Tree)]
    assert paths == ["name", "leaves", "leaves.kind", "leaves.colour", "branches"]
