"""What a sink does that overrides nothing but `tell`."""

from __future__ import annotations

import pytest

from supervisor.events.schema import WarningEvent
from supervisor.sinks.base import Sink


def test_a_sink_that_overrides_nothing_is_no_sink() -> None:
    sink = Sink()
    assert (sink.open({"a": 1}), sink.flush()) == (None, {})
    sink.recall(WarningEvent(message="m"), void=False)
    sink.close()
    with pytest.raises(NotImplementedError):
        sink.tell(WarningEvent(message="m"), void=False)
