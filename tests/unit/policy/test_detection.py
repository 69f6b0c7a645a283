"""The settings of the detectors: their defaults, what turns them off, and the one contradiction between them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from supervisor.policy.detection import Detection, DriftDetection, SpikeDetection, WeightWatch
from supervisor.policy.headroom import HeadroomWatch


def test_all_is_looked_for_by_default() -> None:
    detection = Detection()
    assert detection.spike == SpikeDetection()
    assert detection.drift == DriftDetection()
    assert detection.weights == WeightWatch()
    assert detection.headroom == HeadroomWatch()


@pytest.mark.parametrize("name", ["spike", "drift", "weights", "headroom"])
def test_null_turns_a_detector_off(name: str) -> None:
    detection = Detection.model_validate({name: None})
    assert [each for each in ("spike", "drift", "weights", "headroom") if getattr(detection, each) is None] == [name]


def test_a_warm_up_may_be_as_long_as_the_window_and_no_longer() -> None:
    assert SpikeDetection(window_updates=50, warmup_updates=50).warmup_updates == 50
    with pytest.raises(ValidationError, match="a warm-up of 51 never ends in a window of 50"):
        SpikeDetection(window_updates=50, warmup_updates=51)
