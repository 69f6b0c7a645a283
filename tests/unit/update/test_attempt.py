"""One update as one value, and what is worth knowing of an exception that the user's code raised in it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import torch
from support.parts import users_package
from torch import Tensor, nn

from supervisor.records import Observation
from supervisor.training.rng import capture_rng
from supervisor.training.state import VolatileState
from supervisor.update.attempt import LONGEST_MESSAGE, Attempt, Phase, Place, Raised, raised_from

PLACE = Place(step=1, update=2, replayed=False)


def attempt() -> Attempt:
    return Attempt(PLACE, (1,), VolatileState({}, {}, {}, capture_rng(), ()), started=0.5)


def test_it_begins_with_nothing_measured_nothing_found_and_nothing_applied() -> None:
    begun = attempt()
    assert (begun.phase, begun.observation, begun.raised, begun.signals) == (Phase.BEGUN, None, None, ())
    assert begun.undone
    assert not begun.drawn


def test_what_it_saw_can_be_asked_for_once_it_was_measured() -> None:
    begun = attempt()
    with pytest.raises(RuntimeError, match="not measured yet"):
        _ = begun.seen
    begun.observation = Observation(1, 2, 0.5, 1.5)
    assert begun.seen is begun.observation


def test_two_attempts_are_never_the_same() -> None:
    """Their batches are tensors, which cannot be compared as a whole."""
    one = attempt()
    assert one == one
    assert one != attempt()


def test_an_exception_stays_as_it_is() -> None:
    raised = Raised("KeyError", "KeyError: 'a'", None, None, "")
    with pytest.raises(FrozenInstanceError):
        raised.where = "a.py:3"  # type: ignore[misc]


def refuse() -> Tensor:
    raise ValueError("no such category\nand never was")


class Picky(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return refuse()


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Tanh(), Picky())
        self.other = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)  # type: ignore[no-any-return]


MODEL = Outer()


def of(call: Callable[[], object]) -> Raised:
    """What is known of what `call` raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001
        return raised_from(error, MODEL)
    raise AssertionError("nothing was raised")


def line_of(kind: Callable[..., object], text: str) -> str:
    """`file:line` of the line in some source that holds a text."""
    lines, first = inspect.getsourcelines(kind)
    return f"{__file__}:{first + next(index for index, line in enumerate(lines) if text in line)}"


def test_type_first_line_place_module_and_the_whole_traceback() -> None:
    raised = of(lambda: MODEL(torch.ones(1, 2)))
    assert (raised.type, raised.message, raised.module) == ("ValueError", "ValueError: no such category", "block.1")
    assert raised.where == line_of(refuse, "raise ValueError")
    assert raised.traceback.startswith("Traceback (most recent call last):")
    assert "and never was" in raised.traceback
    assert "in refuse" in raised.traceback


def test_an_exception_from_inside_torch_is_placed_where_the_user_called_it_and_in_torchs_module() -> None:
    raised = of(lambda: MODEL.other(torch.ones(1, 5)))
    assert (raised.type, raised.module) == ("RuntimeError", "other")
    assert str(raised.where).startswith(f"{__file__}:")


def test_outside_of_every_module_none_is_named() -> None:
    raised = of(lambda: {}["weight"])
    assert (raised.type, raised.message, raised.module) == ("KeyError", "KeyError: 'weight'", None)


def test_a_self_that_is_no_module_of_the_model_is_passed_over() -> None:
    raised = of(lambda: Picky()(torch.ones(1)))
    assert raised.module is None


def test_an_exception_without_a_text_and_one_with_too_much() -> None:
    def raising(error: Exception) -> Callable[[], object]:
        def call() -> None:
            raise error

        return call

    assert of(raising(ValueError())).message == "ValueError"
    assert of(raising(ValueError("x" * 10_000))).message == "ValueError: " + "x" * (LONGEST_MESSAGE - 12)


def test_without_a_frame_of_the_users_no_place_is_named() -> None:
    try:
        torch.ones(2).reshape(3)
    except RuntimeError as error:
        bare = error.with_traceback(None)
    assert raised_from(bare, MODEL).where is None
    try:
        exec(compile("raise KeyError('made')", "<string>", "exec"))
    except KeyError as error:
        own = error.__traceback__
        made = error.with_traceback(None if own is None else own.tb_next)
    assert made.__traceback__ is not None
    assert raised_from(made, MODEL).where is None


def test_a_package_whose_name_begins_as_ours_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def loss(batch):\n    raise ValueError('of the user')\n"
    package = users_package(tmp_path, monkeypatch, source)
    assert of(lambda: package.loss(None)).where == f"{package.__file__}:2"
