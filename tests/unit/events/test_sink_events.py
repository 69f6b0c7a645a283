"""The events of the sinks, as they are written and as they are said."""

from __future__ import annotations

from pathlib import Path

from supervisor.events.narration import Narrator
from supervisor.events.reader import read_events
from supervisor.events.sink_events import SinkFailedEvent, SinkReadyEvent
from supervisor.events.writer import EventLog
from supervisor.run_layout import RunLayout


def test_they_are_read_back_and_said_in_one_line(tmp_path: Path) -> None:
    with EventLog(RunLayout(tmp_path).parent_events, "r", None) as log:
        log.emit(SinkReadyEvent(sink="prometheus", address="http://127.0.0.1:9464/metrics"))
        log.emit(SinkFailedEvent(sink="csv", error="raised OSError: no\nspace \x1b[31m"))
    ready, failed = read_events(tmp_path)
    assert isinstance(ready, SinkReadyEvent)
    assert isinstance(failed, SinkFailedEvent)
    lines = [line.text for event in (ready, failed) for line in Narrator().tell(event)]
    assert lines == [
        "sink prometheus: http://127.0.0.1:9464/metrics",
        "sink csv: raised OSError: no space \\x1b[31m",
    ]
