"""Options of stability: off unless written, and refused by their key."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from energy_flow.stability_options import StabilityOptions


def test_each_is_off_unless_it_is_written() -> None:
    options = StabilityOptions()
    assert options.forward_precision == "float32"
    assert (options.optimizer, options.gradient_clipping, options.ema_decay) == ("adamw", "none", None)


def test_the_older_name_of_bfloat16_still_says_it() -> None:
    assert StabilityOptions(autocast_bfloat16=True).forward_precision == "bfloat16"
    with pytest.raises(ValidationError, match="contradicts `precision: float16`: leave it out"):
        StabilityOptions(autocast_bfloat16=True, precision="float16")


@pytest.mark.parametrize(
    "wrong",
    [
        {"precision": "half"},
        {"optimizer": "sgd"},
        {"gradient_clipping": True},
        {"clipping_warmup_updates": 0},
        {"adagc_relative_bound": 1.0},
        {"zclip_threshold": 0.0},
        {"ema_decay": 1.0},
        {"ema_decay": 0.0},
    ],
)
def test_what_cannot_be_is_refused_by_its_key(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        StabilityOptions.model_validate(wrong)
