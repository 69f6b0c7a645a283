"""The stretches that are open: the pin, what is learnt from one, and what a checkpoint holds of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.exact import assert_same
from support.examined import Examined

from supervisor.experiments.stretch import Stretch
from supervisor.experiments.stretches import Stretches


@pytest.fixture
def setting() -> Examined:
    return Examined()


@pytest.fixture
def stretches(setting: Examined) -> Stretches:
    return Stretches(setting.parts.subject, setting.detectors)


def begin(stretches: Stretches, setting: Examined, *, pinned: bool = True) -> Stretch:
    before = setting.parts.subject.capture_volatile() if pinned else None
    stretches.begin(setting.examining.usable(), before)
    assert stretches.open is not None
    return stretches.open


def test_none_is_open_at_first(stretches: Stretches) -> None:
    assert (stretches.open, stretches.left_out) == (None, None)
    stretches.end()
    assert stretches.state_dict() == {"open": None, "left_out": None, "since": 0}


def test_its_pin_is_the_state_of_then(stretches: Stretches, setting: Examined) -> None:
    before = setting.pin()
    stretch = begin(stretches, setting)
    setting.damage()
    assert stretch.pin is not None
    assert_same(stretch.pin.to_tree(), before.to_tree())
    stretches.drop()
    assert begin(stretches, setting, pinned=False).pin is None


def test_the_memory_of_a_pin_is_used_again(stretches: Stretches, setting: Examined) -> None:
    pin = begin(stretches, setting).pin
    stretches.drop()
    again = begin(stretches, setting).pin
    assert pin is not None
    assert again is not None
    assert again.parameters["weight"].data_ptr() == pin.parameters["weight"].data_ptr()


@pytest.mark.parametrize("harmless", [True, False])
def test_what_it_measured_is_usual_where_it_did_no_harm(
    stretches: Stretches, setting: Examined, harmless: bool
) -> None:
    stretch, levels = begin(stretches, setting), setting.detectors.levels
    for _ in range(20):
        attempt = setting.on_trial()
        attempt.seen.loss = 50.0
        stretch.accept(attempt.seen, attempt.batches)
    (stretches.end if harmless else stretches.drop)()
    assert stretches.open is None
    assert (setting.detectors.levels != levels) is harmless


def test_both_come_back_from_a_checkpoint(stretches: Stretches, setting: Examined) -> None:
    stretch = begin(stretches, setting)
    stretch.harmed = 3
    stretches.so_far(stretch.canaries).leave_out((1, 2))
    stretches.healthy(3)
    back = Stretches(setting.parts.subject, setting.detectors)
    back.load_state_dict(stretches.state_dict(), setting.canaries.remember())
    assert back.open is not None
    assert back.left_out is not None
    assert (back.open.harmed, back.open.canaries) == (3, stretch.canaries)
    assert (back.left_out.left_out, back.left_out.skipped) == (1, [(1, 2)])
    back.healthy(3)
    assert back.left_out is not None
    back.healthy(3)
    assert back.left_out is None
    back.drop_all()
    assert back.open is None


def test_healthy_updates_between_those_that_were_left_out_change_nothing(stretches: Stretches) -> None:
    for number in range(10):
        stretches.so_far(()).leave_out((number,))
        for _ in range(4):
            stretches.healthy(5)
    assert stretches.left_out is not None
    assert stretches.left_out.left_out == 10
    stretches.healthy(5)
    assert stretches.left_out is None


def test_its_canaries_stay_though_the_loader_comes_to_their_memory(stretches: Stretches, setting: Examined) -> None:
    memory = np.ones((2, 4), np.float32)
    held = torch.from_numpy(memory)
    canary = replace(setting.examining.usable()[0], batches=(held,), places=frozenset({held.data_ptr()}))
    stretches.begin([canary], None)
    memory[:] = 0.0
    assert stretches.open is not None
    assert_same(stretches.open.canaries[0].batches[0], torch.ones(2, 4))
