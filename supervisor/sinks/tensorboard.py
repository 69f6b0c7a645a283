"""TensorBoard: the numbers of the steps as scalars, each incident as text at the step at which it opened."""

from __future__ import annotations

from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event as BoardEvent
from tensorboard.compat.proto.event_pb2 import SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from supervisor.display import visible, writable
from supervisor.events import schema
from supervisor.events.schema import Event
from supervisor.report.account import Accounting
from supervisor.sinks.base import Memory
from supervisor.sinks.incidents import Incident, IncidentSink
from supervisor.sinks.scalars import scalars_of

__all__ = ["TensorboardSink"]


class TensorboardSink(IncidentSink):
    """Writes event files, one more for each process; TensorBoard reads all files of a folder as one run.

    What a resume takes back is dropped by TensorBoard itself: it is told that the run begins again at the step of the
    checkpoint. What a reload within the run goes back over stays, and the curve is drawn a second time from there.

    Args:
        directory: where the files go.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._writer: EventFileWriter | None = None
        self._accounting = Accounting()

    def recall(self, event: Event, *, void: bool) -> None:
        """Take note of what the goodput and the texts of incidents need."""
        self._accounting.tell(event)
        super().recall(event, void=void)

    def tell(self, event: Event, *, void: bool) -> None:
        """Count the time of all events, and hand on those that count."""
        self._accounting.tell(event)
        super().tell(event, void=void)

    def hand_on(self, event: Event, ended: Incident | None) -> None:
        """Write the scalars of a step or an evaluation, or an incident that is over."""
        if ended is not None:
            self._write_text(ended, event)
        match event:
            case schema.RunStartedEvent():
                self._begin_again(0, event)
            case schema.RunResumedEvent():
                self._begin_again(event.checkpoint_step, event)
            case schema.StepEvent():
                goodput = self._accounting.account.goodput
                self._write_scalars(scalars_of(event) | ({} if goodput is None else {"goodput": goodput}), event)
            case schema.MetricsEvent():
                self._write_scalars({f"metrics/{name}": value for name, value in event.metrics.items()}, event)

    def flush(self) -> Memory:
        """Hand the file what was written."""
        if self._writer is not None:
            self._writer.flush()
        return {}

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def _begin_again(self, step: int, event: Event) -> None:
        """Tell TensorBoard that what it has of this step and those after it does not count."""
        start = SessionLog(status=SessionLog.START)
        self._add(BoardEvent(step=step, wall_time=event.time.timestamp(), session_log=start))

    def _write_scalars(self, scalars: dict[str, float], event: Event) -> None:
        values = [Summary.Value(tag=writable(name), simple_value=value) for name, value in scalars.items()]
        self._add(BoardEvent(step=event.step, wall_time=event.time.timestamp(), summary=Summary(value=values)))

    def _write_text(self, incident: Incident, event: Event) -> None:
        # Indented, it is no Markdown: every text of a run is shown as it is.
        lines = "\n".join(incident.lines()).splitlines()
        text = "\n".join(f"    {visible(writable(line))}" for line in lines)
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        value = Summary.Value(tag="incidents", tensor=tensor, metadata=metadata)
        step = incident.opened.step or 0
        self._add(BoardEvent(step=step, wall_time=event.time.timestamp(), summary=Summary(value=[value])))

    def _add(self, event: BoardEvent) -> None:
        if self._writer is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._writer = EventFileWriter(str(self._directory))
        self._writer.add_event(event)
