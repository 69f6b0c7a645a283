"""Incidents as spans, as the SDK's own exporter in memory holds them, and as they go over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from support.written_run import HOSTILE, WrittenRun, feed

from supervisor.events import schema
from supervisor.sinks.base import SinkError
from supervisor.sinks.opentelemetry import OpentelemetrySink, over_http


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    found = WrittenRun(tmp_path / "mine")
    found.start()
    return found


def test_an_incident_is_a_span_with_its_decisions_and_experiments(run: WrittenRun) -> None:
    run.incident(1, 5, closes_at=9)
    exporter = InMemorySpanExporter()
    feed(OpentelemetrySink(run.about, exporter, "training"), run)
    (span,) = exporter.get_finished_spans()
    assert span.name == "incident nonfinite_loss"
    assert {name: span.attributes[f"supervisor.{name}"] for name in ("incident", "step", "outcome", "cured_by")} == {
        "incident": 1,
        "step": 5,
        "outcome": "recovered",
        "cured_by": "skip_batch",
    }
    assert span.attributes["supervisor.signals"] == ("nonfinite_loss",)
    assert [event.name for event in span.events] == [
        *("incident_opened", "diagnosis", "signal", "experiment", "decision", "action_applied", "incident_closed")
    ]
    decision = next(event for event in span.events if event.name == "decision")
    assert (decision.attributes or {})["supervisor.reason"] == "bad data"
    experiment = next(event for event in span.events if event.name == "experiment")
    assert (experiment.attributes or {})["supervisor.verdict"] == "unharmed"
    assert span.resource.attributes["service.name"] == "training"
    assert span.resource.attributes["supervisor.run_id"] == "abc123"
    times = [event.timestamp for event in span.events]
    assert span.start_time == min(times[0], times[1])
    assert (span.end_time or 0) - (span.start_time or 0) == pytest.approx(0.4e9, abs=0.3e9)


def test_one_that_is_open_over_a_resume_is_one_span(run: WrittenRun) -> None:
    run.incident(1, 5)
    exporter = InMemorySpanExporter()
    kept = feed(OpentelemetrySink(run.about, exporter, "s"), run)
    assert exporter.get_finished_spans() == ()
    run.resume(6)
    run.close_incident(1, 9)
    again = InMemorySpanExporter()
    feed(OpentelemetrySink(run.about, again, "s"), run, kept)
    (span,) = again.get_finished_spans()
    assert "decision" in [event.name for event in span.events]


def test_a_halt_is_an_error_and_an_open_one_is_told_at_the_end(run: WrittenRun) -> None:
    run.incident(1, 5)
    run.log.emit(schema.RunHaltedEvent(step=5, update=5, reason="the ladder ended"))
    run.incident(2, 7)
    run.finish(9)
    exporter = InMemorySpanExporter()
    feed(OpentelemetrySink(run.about, exporter, "s"), run)
    halted, left = exporter.get_finished_spans()
    assert (halted.status.status_code, halted.attributes["supervisor.reason"]) == (StatusCode.ERROR, "the ladder ended")
    assert left.attributes["supervisor.outcome"] == "open"


def test_any_text_is_sent_as_it_is(run: WrittenRun) -> None:
    run.incident(1, 5, reason=HOSTILE, closes_at=9)
    exporter = InMemorySpanExporter()
    feed(OpentelemetrySink(run.about, exporter, HOSTILE), run)
    (span,) = exporter.get_finished_spans()
    decision = next(event for event in span.events if event.name == "decision")
    assert (decision.attributes or {})["supervisor.reason"] == HOSTILE


class Refusing(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.FAILURE

    def shutdown(self) -> None: ...


def test_a_span_that_is_not_taken_is_an_error(run: WrittenRun) -> None:
    run.incident(1, 5, closes_at=9)
    with pytest.raises(SinkError, match="did not take a span"):
        feed(OpentelemetrySink(run.about, Refusing(), "s"), run)


def test_spans_go_over_http(run: WrittenRun) -> None:
    taken: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None: ...

    run.incident(1, 5, closes_at=9)
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        exporter = over_http(f"http://127.0.0.1:{server.server_port}/v1/traces", 10.0)
        feed(OpentelemetrySink(run.about, exporter, "s"), run)
        server.shutdown()
    (span,) = ExportTraceServiceRequest.FromString(taken[0]).resource_spans[0].scope_spans[0].spans
    assert (span.name, len(span.events)) == ("incident nonfinite_loss", 7)
