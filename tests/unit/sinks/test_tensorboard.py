"""TensorBoard's own reader reads what the sink writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.written_run import HOSTILE, WrittenRun, feed, feed_on
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from supervisor.sinks.tail import Tail
from supervisor.sinks.tensorboard import TensorboardSink


def read(directory: Path) -> Any:
    found = EventAccumulator(str(directory), {"tensors": 0, "scalars": 0})
    found.Reload()
    return found


def steps(found: Any, tag: str) -> list[int]:
    return [each.step for each in found.Scalars(tag)]


def texts(found: Any) -> list[tuple[int, str]]:
    return [(each.step, each.tensor_proto.string_val[0].decode()) for each in found.Tensors("incidents")]


def test_scalars_evaluations_and_incidents(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run")
    run.start()
    run.steps(0, 1, 2, loss=0.25)
    run.evaluate(3, mse=0.75)
    run.incident(1, 3, closes_at=5)
    feed(TensorboardSink(tmp_path / "board"), run)
    found = read(tmp_path / "board")
    tags = {"loss", "grad_norm", "lr", "lr_scale", "step_seconds", "goodput", "metrics/mse"}
    assert set(found.Tags()["scalars"]) == tags
    assert steps(found, "loss") == [0, 1, 2]
    assert found.Scalars("loss")[0].value == 0.25
    assert (found.Scalars("metrics/mse")[0].step, found.Scalars("metrics/mse")[0].value) == (3, 0.75)
    assert 0 < found.Scalars("goodput")[-1].value <= 1
    ((step, text),) = texts(found)
    assert step == 3
    assert "cured by skip_batch" in text


def test_a_worker_that_dies_and_is_resumed_goes_on_in_the_same_curve(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run")
    run.start()
    run.steps(0, 1, 2, 3, loss=1.0)
    sink = TensorboardSink(tmp_path / "board")
    sink.open({})
    tail = Tail(run.layout, {})
    feed_on(sink, tail)
    run.resume(2)
    run.steps(2, 3, 4, loss=0.5)
    feed_on(sink, tail)
    sink.close()
    found = read(tmp_path / "board")
    assert [(each.step, each.value) for each in found.Scalars("loss")] == [(0, 1), (1, 1), (2, 0.5), (3, 0.5), (4, 0.5)]


def test_a_run_that_is_resumed_by_another_process_goes_on_in_the_same_curve(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run")
    run.start()
    run.steps(0, 1, 2, 3)
    run.incident(1, 4)
    kept = feed(TensorboardSink(tmp_path / "board"), run)
    run.resume(5)
    run.close_incident(1, 8)
    run.steps(5, 6)
    feed(TensorboardSink(tmp_path / "board"), run, kept)
    found = read(tmp_path / "board")
    assert steps(found, "loss") == [0, 1, 2, 3, 5, 6]
    ((step, text),) = texts(found)
    # What it was opened by was told to the process before.
    assert (step, "bad data" in text) == (4, True)


def test_any_name_and_any_text_is_shown_as_text(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run")
    run.start()
    run.evaluate(1, **{HOSTILE: 1.5, "inf": float("inf"), "nan": float("nan")})
    run.incident(1, 3, reason=HOSTILE, closes_at=5)
    feed(TensorboardSink(tmp_path / "board"), run)
    found = read(tmp_path / "board")
    assert found.Scalars(f"metrics/{HOSTILE}")[0].value == 1.5
    assert found.Scalars("metrics/inf")[0].value == float("inf")
    ((_, text),) = texts(found)
    assert all(line.startswith("    ") for line in text.split("\n"))
    assert "\x1b" not in text
    assert '<b>"x"</b>' in text
