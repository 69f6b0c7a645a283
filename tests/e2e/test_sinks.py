"""Runs whose log is handed on: to servers that are slow, fail or are not there, over kills and resumes."""

from __future__ import annotations

import csv
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.command import PATIENCE_SECONDS, read_lines, supervise, write_job
from support.runs import alive, assert_same_end, gate_at, life, named, open_gate, running, steady_job, until
from support.web_server import web_server
from support.written_run import HOSTILE

STEPS = 60
FAULTS = [{"kind": "nan_batch", "at_batch": 30}]


def process_of_sinks(parent: int) -> int:
    """The number of the process that a supervisor feeds its sinks in."""

    def found() -> int | None:
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if b"sinks_entry" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        return None

    return int(until(found))


def test_sinks_that_hang_raise_and_cannot_serve_change_nothing(tmp_path: Path) -> None:
    plain, beside = tmp_path / "plain", tmp_path / "beside"
    assert supervise("run", str(steady_job(plain, steps=STEPS, faults=FAULTS)), cwd=plain).returncode == 0
    go_on = threading.Event()
    with web_server() as server, socket.create_server(("127.0.0.1", 0)) as taken:
        server.before = lambda: go_on.wait(PATIENCE_SECONDS)
        sinks = {
            "flush_seconds": 0.5,
            "webhook": {"url": server.url, "events": ["step"]},
            "prometheus": {"port": taken.getsockname()[1]},
            "tensorboard": {"directory": "in-the-way"},
            "csv": {"directory": "in-the-way"},
            "parquet": None,
        }
        job = steady_job(beside, steps=STEPS, faults=FAULTS, sinks=sinks)
        (beside / "in-the-way").write_text("a file")
        done = supervise("run", str(job), cwd=beside)
        go_on.set()
    assert done.returncode == 0, done.stderr
    assert_same_end(beside / "run", plain / "run", STEPS)
    failed = {each.sink: each.error for each in named(beside / "run", "sink_failed")}
    assert len(named(beside / "run", "sink_failed")) == len(failed)
    assert set(failed) == {"webhook", "prometheus", "tensorboard", "csv"}
    assert "of the log w" in failed["webhook"]
    assert "write another `port`" in failed["prometheus"]
    assert "sink prometheus: cannot serve" in done.stdout
    assert "SECRET" not in done.stdout + done.stderr
    holding = [path for path in (beside / "run").rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]
    assert [path.name for path in holding] == ["webhook.url"]


def test_a_webhook_is_posted_once_over_the_death_of_the_worker_and_of_the_parent(tmp_path: Path) -> None:
    sinks = {"webhook": {"url_env": "HOOK", "events": ["incident_opened", "run_finished"]}, "csv": None}
    job = steady_job(tmp_path, steps=STEPS, faults=FAULTS, sinks=sinks)
    gate_at(tmp_path, 35)
    with web_server(500, 503, 200) as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("HOOK", server.url)
        with running("run", str(job), cwd=tmp_path) as parent:
            worker = life(tmp_path / "run", 0, parent)
            until(lambda: server.taken)
            gate_at(tmp_path, 38)
            os.kill(worker, signal.SIGKILL)
            second = life(tmp_path / "run", 1, parent)
            until(lambda: [line for line in read_lines(tmp_path / "run") if (line["step"] or 0) >= 36])
            sinks_pid = process_of_sinks(parent.pid)
            parent.kill()
            parent.wait()
            until(lambda: not alive(sinks_pid) and not alive(second))
        open_gate(tmp_path)
        done = supervise("resume", "run", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert server.texts() == [
        "[run] incident 1 opened at step 30: nonfinite_loss, nonfinite_gradient",
        f"[run] finished after {STEPS} steps, 1 incident",
    ]
    with (tmp_path / "run" / "sinks" / "csv" / "steps.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == [step for step in range(STEPS) if step != 30]


def test_a_resume_of_a_finished_run_hands_on_what_was_not_taken_in_time(tmp_path: Path) -> None:
    sinks = {"webhook": {"url_env": "HOOK", "events": ["run_finished"]}, "csv": None, "flush_seconds": 0.5}
    job = steady_job(tmp_path, steps=20, sinks=sinks)
    with web_server(503) as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("HOOK", server.url)
        assert supervise("run", str(job), cwd=tmp_path).returncode == 0
        assert "of the log" in "".join(each.error for each in named(tmp_path / "run", "sink_failed"))
        server.codes = [200]
        again = supervise("resume", "run", "--set", "sinks.flush_seconds=60", cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert server.texts() == ["[run] finished after 20 steps, 0 incidents"]
        # Once more: there is nothing left to be told.
        before = (tmp_path / "run" / "events" / "supervisor.jsonl").read_bytes()
        assert supervise("resume", "run", cwd=tmp_path).returncode == 0
        assert len(server.texts()) == 1
        assert (tmp_path / "run" / "events" / "supervisor.jsonl").read_bytes() == before


def test_a_request_to_stop_ends_the_sinks_when_all_is_told(tmp_path: Path) -> None:
    job = steady_job(tmp_path, steps=STEPS, sinks={"csv": None, "flush_seconds": PATIENCE_SECONDS})
    gate_at(tmp_path, 20)
    with running("run", str(job), cwd=tmp_path) as parent:
        life(tmp_path / "run", 0, parent)
        sinks_pid = process_of_sinks(parent.pid)
        path = tmp_path / "run" / "events" / "rank0.jsonl"
        until(lambda: path.exists() and path.read_text().count('"event":"step"') >= 20)
        parent.send_signal(signal.SIGTERM)
        open_gate(tmp_path)
        assert parent.wait(PATIENCE_SECONDS) == 75
    assert not alive(sinks_pid)
    written = (tmp_path / "run" / "sinks" / "csv" / "steps.csv").read_text().count("\n") - 1
    assert written == path.read_text().count('"event":"step"')


def test_a_job_that_cannot_take_a_step_leaves_nothing_of_its_sinks(tmp_path: Path) -> None:
    job = write_job(tmp_path, trainer="no_such_module:Trainer", steps=3, run_dir="run", sinks={"csv": None})
    done = supervise("run", str(job), cwd=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "run").exists()


@contextmanager
def prometheus_server(folder: Path, target: str) -> Iterator[str]:
    """A real Prometheus server that scrapes one target every tenth of a second; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings: dict[str, Any] = {
        "global": {"scrape_interval": "100ms"},
        "scrape_configs": [{"job_name": "supervisor", "static_configs": [{"targets": [target]}]}],
    }
    folder.mkdir()
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with subprocess.Popen(
        [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def asked(server: str, query: str) -> float | None:
    """What a Prometheus server answers to a query that has one number."""
    address = f"{server}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            found = json.load(answer)["data"]["result"]
    except (urllib.error.URLError, ConnectionError, http.client.HTTPException):
        return None
    return float(found[0]["value"][1]) if found else None


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
def test_a_prometheus_server_scrapes_a_running_job_and_knows_its_incidents(tmp_path: Path) -> None:
    job = steady_job(tmp_path, steps=STEPS, faults=FAULTS)
    gate_at(tmp_path, 50)
    with running("run", str(job), "--set", "sinks.prometheus.port=0", cwd=tmp_path) as parent:
        life(tmp_path / "run", 0, parent)
        (ready,) = until(lambda: [line for line in read_lines(tmp_path / "run", "supervisor") if "address" in line])
        target = urllib.parse.urlsplit(ready["address"]).netloc
        with prometheus_server(tmp_path / "prometheus", target) as server:
            assert until(lambda: asked(server, "sum(supervisor_incidents_total)") or None, every=0.1) == 1
            assert asked(server, 'supervisor_run_state{state="running"}') == 1
            # The gate lets step 50 pass, after which 51 are used up.
            assert until(lambda: asked(server, "supervisor_step") == 51, every=0.1)
        open_gate(tmp_path)
        assert parent.wait(PATIENCE_SECONDS) == 0


TRAINER = f"""
from steady import Steady


class Hostile(Steady):
    raised = False

    def evaluate(self):
        return {{{HOSTILE!r}: 0.5, "nan": float("nan")}}

    def loss(self, batch):
        if self.calls == 25 and not Hostile.raised:
            Hostile.raised = True
            raise ValueError({HOSTILE!r})
        return super().loss(batch)
"""


@pytest.mark.slow
def test_any_name_and_any_text_passes_through_every_sink(tmp_path: Path) -> None:
    names = ("tensorboard", "csv", "parquet", "wandb", "mlflow")
    for package in ("wandb", "mlflow"):
        pytest.importorskip(package)
    with web_server() as server:
        sinks: dict[str, Any] = dict.fromkeys(names)
        sinks |= {"prometheus": {"port": 0}, "webhook": {"url": server.url}, "flush_seconds": PATIENCE_SECONDS}
        run_dir = '<b>"x"\x1b é 🦊 &'
        job = steady_job(tmp_path, steps=STEPS, trainer="hostile:Hostile", sinks=sinks, run_dir=run_dir)
        (tmp_path / "hostile.py").write_text(TRAINER, encoding="utf-8")
        done = supervise("run", str(job), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = tmp_path / run_dir
    assert [(each.sink, each.error) for each in named(run, "sink_failed")] == []
    assert [each.message for each in named(run, "warning") if "left behind" in each.message] == []
    assert {path.stem for path in (run / "sinks").glob("*.json")} == {*names, "prometheus", "webhook"}
    assert any("incident 1 opened at step 25" in text for text in server.texts())
    with (run / "sinks" / "csv" / "evaluations.csv").open(newline="", encoding="utf-8") as file:
        # The log itself holds the first 200 characters of a name.
        assert HOSTILE[:200] in [row["metric"] for row in csv.DictReader(file)]
