"""What the rungs share."""

from __future__ import annotations

import pytest

from supervisor.policy import SkipBatchRung
from supervisor.policy.ladder_base import LimitedRung, UseLimit


def test_what_a_written_limit_leaves_out_is_that_of_its_rung() -> None:
    rung = SkipBatchRung.model_validate({"limit": {"uses": 3}})
    assert isinstance(rung, LimitedRung)
    assert rung.limit == UseLimit(uses=3, window_updates=1000)


@pytest.mark.parametrize("uses", [0, True, 1.5])
def test_a_limit_is_a_whole_number(uses: object) -> None:
    with pytest.raises(ValueError, match="uses"):
        UseLimit(uses=uses)  # type: ignore[arg-type]
