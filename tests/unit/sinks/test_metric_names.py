"""The names follow Prometheus' conventions."""

from __future__ import annotations

import re
from pathlib import Path

from supervisor.sinks.metric_names import METRICS


def test_names_follow_the_conventions() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"supervisor_[a-z]+(_[a-z]+)*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not re.search(r"_(ms|milliseconds|minutes|percent)(_|$)", metric.name)
        assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", label) for label in metric.labels)
        assert metric.help.endswith(".")


def test_each_name_is_there_once() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_the_documentation_has_each_with_what_it_says() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`supervisor_.*) \|$", page, re.MULTILINE)
    assert rows == [
        f"`{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {told}"
        for name, kind, told, labels in METRICS
    ]
