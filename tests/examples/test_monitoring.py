"""What is ready for Prometheus and Grafana uses the names that the sink exports, and no others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from supervisor.events.schema import ExitClassification
from supervisor.job import Sinks
from supervisor.report.run_status import RunState
from supervisor.sinks.metric_names import METRICS

MONITORING = Path(__file__).resolve().parents[2] / "examples" / "monitoring"
FILES = sorted(path.name for path in MONITORING.iterdir())
EXPORTED = {metric.name: metric for metric in METRICS} | {
    f"{metric.name}{suffix}": metric
    for metric in METRICS
    if metric.kind == "histogram"
    for suffix in ("_bucket", "_sum", "_count")
}
OF_THE_SERVER = {"instance", "job", "le"}


def texts(name: str) -> str:
    return (MONITORING / name).read_text(encoding="utf-8").replace('\\"', '"')


@pytest.mark.parametrize("name", FILES)
def test_every_name_is_exported(name: str) -> None:
    used = set(re.findall(r"\bsupervisor_[a-z_]+", texts(name)))
    assert used <= set(EXPORTED)


@pytest.mark.parametrize("name", FILES)
def test_every_label_is_one_of_its_metric_with_a_value_that_it_can_have(name: str) -> None:
    values = {"state": {*RunState}, "classification": {*ExitClassification}}
    for metric, selected in re.findall(r"\b(supervisor_[a-z_]+)\{([^}]*)\}", texts(name)):
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', selected):
            assert label in {*EXPORTED[metric].labels, *OF_THE_SERVER}, (metric, label)
            assert label in OF_THE_SERVER or set(value.split("|")) <= {str(each) for each in values[label]}


def test_the_dashboard_and_the_alerts_show_most_of_what_there_is() -> None:
    used = set(re.findall(r"\bsupervisor_[a-z_]+", texts("grafana-dashboard.json") + texts("alerts.yml")))
    left_out = {metric.name for metric in METRICS} - {EXPORTED[name].name for name in used}
    assert left_out <= {
        *("supervisor_quarantined_rows", "supervisor_checkpoints_total", "supervisor_warnings_total"),
        "supervisor_incident_duration_seconds",
    }


def test_the_dashboard_can_be_imported() -> None:
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["targets"] and panel["title"] for panel in panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_server_looks_where_the_sink_serves() -> None:
    prometheus = Sinks.model_validate({"prometheus": None}).prometheus
    assert prometheus is not None
    (scraped,) = yaml.safe_load(texts("prometheus.yml"))["scrape_configs"]
    assert scraped["static_configs"] == [{"targets": [f"{prometheus.host}:{prometheus.port}"]}]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("arguments", [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml")])
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
