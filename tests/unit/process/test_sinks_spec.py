"""What the process of the sinks is told, and what has to be there before it is started."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.job import ResolvedJob
from supervisor.process.sinks_spec import SinksSpec, SinksWord
from supervisor.process.spec import WorkerSpec
from supervisor.sinks.choice import NEEDS, Needs

Resolve = Callable[..., ResolvedJob]

SECRET = "https://hooks.example.com/SECRET"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_without_a_sink_there_is_nothing_to_tell(resolve: Resolve) -> None:
    assert SinksSpec.of(resolve(), NOW) is None
    assert SinksSpec.of(resolve(sinks={"flush_seconds": 3, "csv": False}), NOW) is None


def test_it_travels_as_one_line(resolve: Resolve, tmp_path: Path) -> None:
    resolved = resolve(sinks={"csv": None, "webhook": {"url": SECRET, "events": ["run_halted"]}})
    spec = SinksSpec.of(resolved, NOW)
    assert spec is not None
    line = spec.model_copy(update={"run_id": "abc"}).to_line()
    assert line.count(b"\n") == 1
    told = SinksSpec.from_line(line)
    assert [*told.sinks.on()] == ["webhook", "csv"]
    assert told.sinks.webhook is not None
    assert (told.sinks.webhook.events, told.url) == (("run_halted",), SECRET)
    assert (told.run_dir, told.run_id, told.since) == (tmp_path / "run", "abc", NOW)


def test_packages_that_are_missing_are_told_with_their_lines(resolve: Resolve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEEDS, "tensorboard", Needs("tensorboard", "tensorboard", ("no_such_module",)))
    monkeypatch.setitem(NEEDS, "opentelemetry", Needs("opentelemetry-sdk", "otel", ("no_such_module",)))
    with pytest.raises(InputError) as raised:
        SinksSpec.of(resolve(sinks={"tensorboard": None, "csv": None, "opentelemetry": {}}), NOW)
    first, second = raised.value.problems
    assert "job.yaml:" in first
    assert first.endswith(
        "sinks.tensorboard: needs the package tensorboard, which is not installed: "
        "pip install 'energy-flow-supervisor[tensorboard]', or leave the sink out"
    )
    assert "'energy-flow-supervisor[otel]'" in second


def test_the_worker_is_not_told_of_sinks(resolve: Resolve) -> None:
    spec = WorkerSpec.of(resolve(sinks={"webhook": {"url": SECRET}}), run_id="abc", resume=False)
    assert b"SECRET" not in spec.to_line()
    assert WorkerSpec.from_line(spec.to_line()).job.sinks is None


def test_a_word_is_of_a_known_kind() -> None:
    with pytest.raises(ValueError, match="kind"):
        SinksWord.model_validate({"kind": "other", "sink": "csv", "text": "t"})


def test_a_folder_whose_name_is_not_utf8_travels_as_it_is(resolve: Resolve) -> None:
    spec = SinksSpec.of(resolve(sinks={"csv": None}), NOW)
    assert spec is not None
    odd = spec.model_copy(update={"run_dir": Path("/runs/\udcff")})
    assert SinksSpec.from_line(odd.to_line()).run_dir == Path("/runs/\udcff")
