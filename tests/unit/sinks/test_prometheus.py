"""The metrics over HTTP, read by prometheus_client's own parser, and checked by promtool where that is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.written_run import HOSTILE, WrittenRun, feed_on

from supervisor.events import schema
from supervisor.sinks.base import SinkError
from supervisor.sinks.metric_names import METRICS
from supervisor.sinks.prometheus import PrometheusSink
from supervisor.sinks.tail import Tail


class Served:
    """A sink that serves, and is told what the run writes."""

    def __init__(self, run: WrittenRun, sink: PrometheusSink) -> None:
        self._tail = Tail(run.layout, {})
        self._sink = sink
        self.address = sink.open({}) or ""

    def text(self) -> str:
        feed_on(self._sink, self._tail)
        with urllib.request.urlopen(self.address, timeout=10) as answer:
            return str(answer.read().decode())

    def families(self) -> dict[str, Any]:
        return {family.name: family for family in text_string_to_metric_families(self.text())}

    def value(self, name: str, **labels: str) -> float:
        samples = [sample for family in self.families().values() for sample in family.samples]
        (found,) = (each.value for each in samples if each.name == name and each.labels == labels)
        return float(found)


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    found = WrittenRun(tmp_path / HOSTILE[:40].replace("/", "|"))
    found.start()
    return found


@pytest.fixture
def served(run: WrittenRun) -> Iterator[Served]:
    sink = PrometheusSink(run.about, "127.0.0.1", 0)
    yield Served(run, sink)
    sink.close()


def test_every_metric_is_there_under_its_name_and_of_its_kind(run: WrittenRun, served: Served) -> None:
    run.steps(0)
    run.evaluate(1, mse=0.5)
    families = served.families()
    expected = {metric.name.removesuffix("_total"): (metric.kind, metric.help) for metric in METRICS}
    assert {name: (family.type, family.documentation) for name, family in families.items()} == expected


def test_where_the_run_stands(run: WrittenRun, served: Served) -> None:
    run.steps(*range(10), loss=0.25)
    assert served.value("supervisor_step") == 10
    assert served.value("supervisor_planned_steps") == 100
    assert served.value("supervisor_loss") == 0.25
    assert served.value("supervisor_updates_total") == 10
    assert served.value("supervisor_step_duration_seconds_count") == 10
    assert served.value("supervisor_run_state", state="running") == 1
    assert 0 < served.value("supervisor_goodput_ratio") <= 1
    assert served.value("supervisor_incidents_total", signal="nonfinite_loss") == 0


def test_an_incident_from_its_opening_to_its_end(run: WrittenRun, served: Served) -> None:
    run.incident(1, 5)
    assert served.value("supervisor_incident_open") == 1
    assert served.value("supervisor_ladder_rung") == 0
    run.close_incident(1, 9)
    assert served.value("supervisor_incidents_total", signal="nonfinite_loss") == 1
    assert served.value("supervisor_recoveries_total", action="skip_batch") == 1
    assert served.value("supervisor_actions_total", action="skip_batch") == 1
    assert served.value("supervisor_flagged_updates_total") == 1
    assert served.value("supervisor_incident_open") == 0
    assert served.value("supervisor_ladder_rung") == -1
    assert served.value("supervisor_incident_duration_seconds_sum") == 3.5


def test_a_worker_that_is_resumed_counts_the_same_incident_and_the_same_updates_once(
    run: WrittenRun, served: Served
) -> None:
    run.steps(0, 1, 2, 3)
    run.incident(1, 4)
    assert served.value("supervisor_incidents_total", signal="nonfinite_loss") == 1
    run.resume(2)
    assert served.value("supervisor_step") == 2
    run.steps(2, 3)
    run.incident(1, 4)
    run.steps(5)
    assert served.value("supervisor_incidents_total", signal="nonfinite_loss") == 1
    assert served.value("supervisor_flagged_updates_total") == 1
    assert served.value("supervisor_updates_total") == 6
    assert served.value("supervisor_worker_starts_total") == 2
    assert served.value("supervisor_worker_exits_total", classification="killed") == 1
    # A step outside of an incident says that none is open.
    assert served.value("supervisor_incident_open") == 0


@pytest.mark.parametrize("status", ["finished", "interrupted", "unsaved"])
def test_how_it_ended(run: WrittenRun, served: Served, status: str) -> None:
    run.finish(100, status)
    assert served.value("supervisor_run_state", state=status) == 1
    assert served.value("supervisor_run_state", state="running") == 0
    assert served.value("supervisor_step") == 100


def test_a_halt_and_its_incident(run: WrittenRun, served: Served) -> None:
    run.incident(1, 5)
    run.log.emit(schema.RunHaltedEvent(step=5, update=5, reason="the ladder ended"))
    assert served.value("supervisor_run_state", state="halted") == 1
    assert served.value("supervisor_incident_open") == 0


def test_any_name_is_a_label_and_any_number_a_value(run: WrittenRun, served: Served) -> None:
    run.steps(0, loss=float("nan"))
    run.evaluate(1, **{HOSTILE: float("inf")})
    assert served.value("supervisor_evaluation", metric=HOSTILE) == float("inf")
    assert served.value("supervisor_loss") != served.value("supervisor_loss")
    (info,) = served.families()["supervisor_run_info"].samples
    assert info.labels == {"run_id": "abc123", "run": run.about.name, "trainer": "mine:Tiny", "device": "cpu"}


def test_another_process_counts_the_whole_run(run: WrittenRun) -> None:
    run.steps(0, 1)
    run.incident(1, 2, closes_at=5)
    places = Tail(run.layout, {})
    assert [*places.read()]
    sink = PrometheusSink(run.about, "127.0.0.1", 0)
    for event, void, again in Tail(run.layout, places.places, again=True).read():
        assert again
        sink.recall(event, void=void)
    assert sink.registry.get_sample_value("supervisor_recoveries_total", {"action": "skip_batch"}) == 1


def test_a_port_that_is_taken_is_an_error_that_says_what_to_write(run: WrittenRun) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SinkError, match=rf"cannot serve on 127.0.0.1 port {port} .*write another `port`, or 0"):
            PrometheusSink(run.about, "127.0.0.1", port).open({})


def test_after_its_end_nobody_listens(run: WrittenRun) -> None:
    sink = PrometheusSink(run.about, "127.0.0.1", 0)
    address = sink.open({}) or ""
    sink.close()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=5)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_wrong_with_the_metrics(run: WrittenRun, served: Served) -> None:
    run.steps(0, 1)
    run.evaluate(2, **{HOSTILE: 0.5})
    run.incident(1, 3, closes_at=5)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=served.text(), text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
