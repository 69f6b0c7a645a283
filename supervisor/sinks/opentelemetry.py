"""OpenTelemetry: each incident is a span, what was found, tried, decided and done are its events."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Status, StatusCode
from opentelemetry.util.types import AttributeValue

from supervisor.display import shortened, writable
from supervisor.events import schema
from supervisor.events.base import EventBase
from supervisor.events.schema import Event
from supervisor.records import Outcome
from supervisor.sinks.base import AboutRun, SinkError
from supervisor.sinks.incidents import Incident, IncidentSink
from supervisor.version import __version__

__all__ = ["OpentelemetrySink", "over_http"]

_PREFIX = "supervisor."
_BESIDE = frozenset({*EventBase.model_fields, "incident"}) - {"step", "update"}
"""What the span says already."""

_LONGEST = 4000
"""How much of one text is sent, in characters."""

_MOST_VALUES = 100
"""How many values of one list are sent."""

_MOST_EVENTS = 1000
"""How many events of one incident are sent: the last ones."""


class OpentelemetrySink(IncidentSink):
    """Exports a span as soon as its incident is over; one that is open at the end is exported then.

    What was exported cannot be taken back: an incident that comes again after a resume is exported again, with the same
    number.

    Args:
        about: the run.
        exporter: where the spans go; see `over_http`.
        service: the `service.name` of the spans.
    """

    patience_seconds = 30.0

    def __init__(self, about: AboutRun, exporter: SpanExporter, service: str) -> None:
        super().__init__()
        resource = {"service.name": service, "service.version": __version__}
        resource |= {f"{_PREFIX}run_id": about.run_id, f"{_PREFIX}run": about.name}
        named: dict[str, AttributeValue] = {key: writable(value) for key, value in resource.items()}
        # Neither a sampler nor limits of the environment's: there are few incidents, and each of them counts.
        limits = SpanLimits(max_span_attributes=64, max_events=_MOST_EVENTS, max_event_attributes=64)
        provider = TracerProvider(ALWAYS_ON, Resource(named), shutdown_on_exit=False, span_limits=limits)
        self._exporter, self._ended = exporter, _Ended()
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("supervisor", __version__)

    def hand_on(self, event: Event, ended: Incident | None) -> None:
        """Export the incident that an event ends."""
        if ended is not None:
            self._export(ended, event)
        elif isinstance(event, schema.RunFinishedEvent) and event.status is schema.RunStatus.FINISHED:
            for incident in self._incidents.all:
                if incident.ended is None:
                    self._export(incident, event)

    def close(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def _export(self, incident: Incident, last: Event) -> None:
        attributes = {
            "incident": incident.number,
            "step": incident.opened.step,
            "signals": incident.signals,
            "actions": incident.actions,
            "cause": incident.cause,
            "outcome": incident.outcome.value,
        }
        match incident.ended:
            case schema.IncidentClosedEvent() as closed:
                attributes |= {"cured_by": closed.cured_by.value, "steps_lost": closed.steps_lost}
            case schema.RunHaltedEvent() as halted:
                attributes["reason"] = halted.reason
        name = f"incident {incident.signals[0]}" if incident.signals else "incident"
        span = self._tracer.start_span(name, start_time=_nanoseconds(incident.opened), attributes=_named(attributes))
        for event in incident.events:
            told = {each: value for each, value in event.model_dump(mode="json").items() if each not in _BESIDE}
            span.add_event(event.event, _named(told), timestamp=_nanoseconds(event))
        if incident.outcome is Outcome.HALTED:
            span.set_status(Status(StatusCode.ERROR, "the run was halted"))
        span.end(_nanoseconds(last))
        ended, self._ended.spans = self._ended.spans, []
        if self._exporter.export(ended) is not SpanExportResult.SUCCESS:
            raise SinkError("the collector did not take a span: see that it runs, and that `endpoint` is its address")


class _Ended(SpanProcessor):
    """Keeps the spans that have ended, so that whether they were taken is seen: the usual processors only log it."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep one."""
        self.spans.append(span)


def over_http(endpoint: str, timeout_seconds: float) -> SpanExporter:
    """An exporter by OTLP over HTTP.

    Args:
        endpoint: the collector's address.
        timeout_seconds: how long one delivery may take, all tries together.
    """
    # It logs each failure, which the sink reports once.
    for name in ("opentelemetry", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return OTLPSpanExporter(endpoint=endpoint, timeout=timeout_seconds)


def _nanoseconds(event: Event) -> int:
    return int(event.time.timestamp() * 1e6) * 1000


def _named(values: Mapping[str, object]) -> dict[str, AttributeValue]:
    """Attributes under this project's prefix; what has no value is left out."""
    return {f"{_PREFIX}{writable(name)}": _plain(value) for name, value in values.items() if value is not None}


def _plain(value: object) -> AttributeValue:
    match value:
        case bool() | int() | float():
            return value if not isinstance(value, int) or abs(value) < 1 << 63 else str(value)
        case list() | tuple():
            return tuple(_text(each) for each in value[:_MOST_VALUES])
        case _:
            return _text(value)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return writable(shortened(text, _LONGEST))
