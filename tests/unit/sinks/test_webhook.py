"""A webhook, delivered to a real server."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.web_server import web_server
from support.written_run import HOSTILE, WrittenRun, feed, feed_on

from supervisor.errors import traceback_of
from supervisor.events import schema
from supervisor.job.sinks import ENDS, TOLD
from supervisor.sinks.base import AboutRun, SinkError
from supervisor.sinks.tail import Tail
from supervisor.sinks.webhook import WebhookSink
from supervisor.testing.clock import FakeClock


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    found = WrittenRun(tmp_path / "mine")
    found.start()
    return found


def made(about: AboutRun, url: str, *, clock: FakeClock | None = None, **settings: Any) -> WebhookSink:
    chosen = {"events": (*TOLD, *ENDS), "attempts": 5, "timeout_seconds": 10.0, **settings}
    return WebhookSink(about, url, clock=clock or FakeClock(), **chosen)


def test_a_server_that_fails_twice_and_then_answers_gets_the_message_exactly_once(run: WrittenRun) -> None:
    run.incident(1, 5)
    clock = FakeClock()
    with web_server(500, 503, 200) as server:
        feed(made(run.about, server.url, clock=clock), run)
    assert server.tried == [{"text": "[mine] incident 1 opened at step 5: nonfinite_loss"}] * 3
    assert len(server.taken) == 1
    assert len(set(server.keys)) == 1
    assert clock.sleeps == [0.5, 1.0]


def test_the_chosen_events_in_words_and_nothing_else(run: WrittenRun) -> None:
    run.steps(0)
    run.incident(1, 5, closes_at=8)
    run.finish(9)
    with web_server() as server:
        feed(made(run.about, server.url), run)
    assert server.texts() == [
        "[mine] incident 1 opened at step 5: nonfinite_loss",
        "[mine] incident 1 is over at step 8: cured by skip_batch, 1 steps lost, 3.5 s",
        "[mine] finished after 9 steps, 0 incidents",
    ]


def test_what_a_resume_does_again_is_not_posted_again_and_what_comes_out_differently_is(run: WrittenRun) -> None:
    run.incident(1, 5, closes_at=8)
    with web_server() as server:
        sink = made(run.about, server.url)
        sink.open({})
        tail = Tail(run.layout, {})
        feed_on(sink, tail)
        run.resume(3)
        run.incident(1, 5, closes_at=8)
        run.incident(2, 9)
        kept = feed_on(sink, tail)
        assert [text.partition(" ")[2] for text in server.texts()] == [
            "incident 1 opened at step 5: nonfinite_loss",
            "incident 1 is over at step 8: cured by skip_batch, 1 steps lost, 3.5 s",
            "worker 7 died: killed (SIGKILL)",
            "incident 2 opened at step 9: nonfinite_loss",
        ]
        run.resume(3)
        run.incident(1, 5, closes_at=8)
        feed(made(run.about, server.url), run, kept)
        assert [text.partition(" ")[2] for text in server.texts()[4:]] == ["worker 7 died: killed (SIGKILL)"]


def test_a_step_that_takes_another_time_when_it_is_done_again_is_the_same(run: WrittenRun) -> None:
    run.steps(0, 1)
    with web_server() as server:
        kept = feed(made(run.about, server.url, events=("step",)), run)
        run.resume(1)
        step = {"update": 1, "loss": 0.5, "grad_norm": 2.0, "lr": 0.1, "lr_scale": 1.0}
        run.log.emit(schema.StepEvent(step=1, **step, step_seconds=7.0))
        run.log.emit(schema.StepEvent(step=1, **{**step, "loss": 0.75}, step_seconds=7.0))
        feed(made(run.about, server.url, events=("step",)), run, kept)
    assert [text.partition("loss")[2][:5] for text in server.texts()] == ["=0.5 ", "=0.5 ", "=0.75"]


def test_its_place_is_to_be_kept_at_once_after_a_delivery_alone(run: WrittenRun) -> None:
    run.incident(1, 5)
    with web_server() as server:
        sink = made(run.about, server.url)
        sink.open({})
        waiting = []
        for event, void, _ in Tail(run.layout, {}).read():
            sink.tell(event, void=void)
            waiting += [event.event] if sink.cannot_wait else []
            sink.flush()
    assert waiting == ["incident_opened"]


def test_switched_on_by_a_resume_it_does_not_tell_of_what_was_before(run: WrittenRun) -> None:
    run.incident(1, 5, closes_at=8)
    since = run.clock.now()
    run.resume(9)
    run.incident(2, 10)
    with web_server() as server:
        feed(made(replace(run.about, since=since), server.url), run)
    assert [text.partition(" ")[2] for text in server.texts()] == [
        "worker 7 died: killed (SIGKILL)",
        "incident 2 opened at step 10: nonfinite_loss",
    ]


def test_what_was_written_while_no_sink_was_there_is_told_by_the_next_process(run: WrittenRun) -> None:
    with web_server() as server:
        kept = feed(made(run.about, server.url), run)
        run.incident(1, 5)
        later = replace(run.about, since=datetime(2030, 1, 1, tzinfo=UTC))
        feed(made(later, server.url), run, kept)
    assert len(server.taken) == 1


@pytest.mark.parametrize(("code", "tries"), [(400, 1), (404, 1), (429, 3), (500, 3)])
def test_a_server_that_does_not_take_it_is_an_error_without_the_address(run: WrittenRun, code: int, tries: int) -> None:
    run.incident(1, 5)
    with web_server(code) as server:
        with pytest.raises(SinkError) as raised:
            feed(made(run.about, server.url, attempts=3), run)
        assert len(server.tried) == tries
    assert str(raised.value) == f"a message about incident_opened was not delivered: the server answered {code}"
    assert "SECRET" not in traceback_of(raised.value)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_message_that_is_redirected_is_not_taken_for_delivered(run: WrittenRun, code: int) -> None:
    run.incident(1, 5)
    with web_server() as elsewhere, web_server(code) as server:
        server.headers = {"Location": elsewhere.url}
        with pytest.raises(SinkError, match=f"the server answered {code}: it wants to be asked at another address"):
            feed(made(run.about, server.url), run)
    assert len(server.tried) == 1


@pytest.mark.parametrize(
    ("wish", "pauses"),
    [("7", [7.0, 7.0]), ("0", [0.5, 1.0]), ("86400", [60.0, 60.0]), ("Sat, 01 Jan 2050 00:00:00 GMT", [0.5, 1.0])],
)
def test_a_server_is_left_alone_as_long_as_it_asks_for(run: WrittenRun, wish: str, pauses: list[float]) -> None:
    run.incident(1, 5)
    clock = FakeClock()
    with web_server(429, 503, 200) as server:
        server.headers = {"Retry-After": wish}
        feed(made(run.about, server.url, clock=clock), run)
    assert len(server.taken) == 1
    assert clock.sleeps == pauses


def test_what_is_no_answer_is_an_error_that_quotes_nothing(run: WrittenRun) -> None:
    run.incident(1, 5)
    with web_server() as server:
        server.instead = b"SECRET \x1b[2J\n\n"
        with pytest.raises(SinkError) as raised:
            feed(made(run.about, server.url, attempts=2), run)
        assert len(server.tried) == 2
    assert str(raised.value).endswith("was not delivered: what the server answered is no HTTP")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/SECRET",
        "http://127.0.0.1:99999/SECRET",
        "http://[::1/SECRET",
        "http://name:SECRET@127.0.0.1/x",
        "http://127.0.0.1:SECRET/x",
    ],
)
def test_an_address_that_leads_nowhere_is_not_told(run: WrittenRun, url: str) -> None:
    run.incident(1, 5)
    with pytest.raises(SinkError) as raised:
        feed(made(run.about, url, attempts=2), run)
    assert "SECRET" not in str(raised.value)


def test_a_server_that_does_not_answer_in_time_is_an_error(run: WrittenRun) -> None:
    run.incident(1, 5)
    answered = threading.Event()
    with web_server() as server:
        server.before = answered.wait
        with pytest.raises(SinkError, match="timed out"):
            feed(made(run.about, server.url, attempts=1, timeout_seconds=0.05), run)
        answered.set()


def test_any_text_is_text(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / '<@U1> & "x"')
    run.start()
    run.log.emit(schema.RunHaltedEvent(step=5, update=5, reason=HOSTILE))
    with web_server() as server:
        feed(made(run.about, server.url), run)
    (text,) = server.texts()
    assert text.startswith('[&lt;@U1&gt; &amp; "x"] step 5  halted: &lt;b&gt;"x"')
    assert "\n" not in text
    assert "\x1b" not in text
    assert "<" not in text
