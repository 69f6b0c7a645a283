"""What the MLflow sink writes, read by MLflow's own client."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from support.written_run import HOSTILE, WrittenRun, feed

pytest.importorskip("mlflow")

from supervisor.sinks.mlflow import MlflowSink, metric_name  # isort: skip  (it says that files are wanted)
from mlflow import MlflowClient


def client(directory: Path) -> Any:
    return MlflowClient(tracking_uri=directory.absolute().as_uri())


def only_run(found: Any, experiment: str = "the experiment") -> Any:
    (run,) = found.search_runs([found.get_experiment_by_name(experiment).experiment_id])
    return run


def history(found: Any, run: Any, name: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in found.get_metric_history(run.info.run_id, name)]


def test_steps_evaluations_and_incidents_are_in_one_run_over_a_resume(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "<b>mine")
    run.start()
    run.steps(0, 1, loss=0.25)
    run.evaluate(2, mse=0.5)
    run.incident(1, 3, reason=HOSTILE)
    kept = feed(MlflowSink(run.about, tmp_path / "store", "the experiment"), run)
    run.resume(4)
    run.close_incident(1, 5)
    run.steps(6, loss=float("nan"))
    run.finish(7)
    feed(MlflowSink(run.about, tmp_path / "store", "the experiment"), run, kept)
    found = client(tmp_path / "store")
    written = only_run(found)
    assert (written.info.run_name, written.info.status) == ("<b>mine", "FINISHED")
    assert written.data.tags["supervisor.run_id"] == "abc123"
    *steps, (last, loss) = history(found, written, "loss")
    assert (steps, last, math.isnan(loss)) == ([(0, 0.25), (1, 0.25)], 6, True)
    assert history(found, written, "metrics.mse") == [(2, 0.5)]
    text = (tmp_path / "store").glob("*/*/artifacts/incidents/0001.txt")
    (story,) = (path.read_text() for path in text)
    assert "cured by skip_batch" in story
    assert "\x1b" not in story


def test_two_runs_in_one_store_stay_two(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run = WrittenRun(tmp_path / name)
        run.start()
        run.steps(0)
        feed(MlflowSink(run.about, tmp_path / "store", "the experiment"), run)
    found = client(tmp_path / "store")
    runs = found.search_runs([found.get_experiment_by_name("the experiment").experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["a", "b"]


@pytest.mark.parametrize("name", ["mse", "top 1", "val: a-b.c"])
def test_a_name_that_it_takes_stays_as_it_is(name: str) -> None:
    assert metric_name(name) == name


def test_names_that_it_does_not_take_stay_different(tmp_path: Path) -> None:
    names = (HOSTILE, "<a>", "<b>", "../a", "a/../b", " ", "..", "🦊", "a\\b")
    assert len({metric_name(name) for name in names}) == len(names)
    run = WrittenRun(tmp_path / "run")
    run.start()
    run.evaluate(1, **dict.fromkeys(names, 0.5))
    feed(MlflowSink(run.about, tmp_path / "store", "the experiment"), run)
    found = client(tmp_path / "store")
    written = only_run(found)
    assert {f"metrics.{metric_name(name)}" for name in names} == set(written.data.metrics)
