"""What a diagnosis says follows what it measured."""

from __future__ import annotations

from supervisor.diagnosis import wording
from supervisor.diagnosis.trace import Origin
from supervisor.records import Signal, SignalName

LOG = Origin(None, "log", "a.py:3", "its argument is zero in 1 of 3 elements")
USED = Origin("head", "linear", "b.py:4")
NOWHERE = Origin(None)


def test_a_place_is_told_as_far_as_it_is_known() -> None:
    assert wording.place(LOG) == ", in log at a.py:3: its argument is zero in 1 of 3 elements"
    assert wording.place(NOWHERE) == ""


class TestLoss:
    def test_the_function_that_made_it_is_named(self) -> None:
        said = wording.loss(LOG, 2, None, None, ())
        assert said.startswith("the loss is not finite, and nothing bad was seen in the outputs of the 2 modules that")
        assert said.endswith(
            "the loss function makes the first, in log at a.py:3: its argument is zero in 1 of 3 elements"
        )

    def test_nothing_is_said_of_modules_that_nobody_saw(self) -> None:
        assert wording.loss(NOWHERE, 0, None, None, ()) == "the loss is not finite; no module's output was seen"

    def test_what_was_bad_already_is_no_modules_doing(self) -> None:
        said = wording.loss(NOWHERE, 3, "head (Linear)", USED, ("Graph",))
        assert said == (
            "the loss is not finite, and head (Linear) was given values already that are not: a NaN is given to linear "
            "at b.py:4, made by nothing watched; the batch holds Graph, which was not looked into"
        )

    def test_one_module_is_one(self) -> None:
        said = wording.loss(NOWHERE, 1, None, None, ())
        assert said.endswith("nothing bad was seen in the output of the one module that was watched")


def test_a_module_makes_it_only_where_a_function_of_it_was_seen_to() -> None:
    assert "makes values that are not finite out of finite ones, in log" in wording.activation("m", LOG, None)
    unseen = wording.activation("m", NOWHERE, None)
    assert unseen == "m gives values that are not finite, and none was seen in its inputs"
    assert "a NaN is given to linear at b.py:4, made by nothing watched" in wording.activation("m", NOWHERE, USED)


def test_attributes_are_named() -> None:
    assert "core.h, a plain attribute of a module, is not finite" in wording.hidden(["core.h"])
    assert "a, b, c, d, e and 1 more, plain attributes, are not finite" in wording.hidden([*"abcdef"])


def test_what_is_large_is_said_by_what_flagged_it() -> None:
    signals = [Signal(SignalName.LOSS_SPIKE)]
    said = wording.large(signals, "w", {"w": 9.0, "b": 7.0})
    assert said == (
        "loss and gradients are finite; what flagged the step is loss_spike: w carries 56% of the squared norm 4 of "
        "the gradients"
    )
    assert "every gradient is zero" in wording.large(signals, "w", {"w": 0.0})
