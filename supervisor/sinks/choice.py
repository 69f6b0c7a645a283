"""Which sink a section of the job means, and the package that it needs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from supervisor.clock import Clock
from supervisor.config.section import Section
from supervisor.job import sinks as settings
from supervisor.run_layout import RunLayout
from supervisor.sinks.base import AboutRun, Sink

__all__ = ["NEEDS", "Needs", "builder", "missing_package"]


class Needs(NamedTuple):
    """What a sink needs.

    Attributes:
        package: as it is installed.
        extra: of this package, which installs it.
        modules: that have to be there.
    """

    package: str
    extra: str
    modules: tuple[str, ...]


NEEDS = {
    "tensorboard": Needs("tensorboard", "tensorboard", ("tensorboard",)),
    "prometheus": Needs("prometheus-client", "prometheus", ("prometheus_client",)),
    "opentelemetry": Needs(
        "opentelemetry-exporter-otlp-proto-http",
        "otel",
        ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http"),
    ),
    "parquet": Needs("pyarrow", "parquet", ("pyarrow",)),
    "wandb": Needs("wandb", "wandb", ("wandb",)),
    "mlflow": Needs("mlflow-skinny", "mlflow", ("mlflow",)),
}
"""By the name of the sink; one that is not here needs nothing beside this package."""


def missing_package(sink: str) -> Needs | None:
    """What a sink needs and what is not installed; None where all is there. Nothing of it is imported."""
    needs = NEEDS.get(sink)
    return None if needs is None or all(map(_is_there, needs.modules)) else needs


def builder(name: str, chosen: Section, about: AboutRun, clock: Clock, url: str | None) -> Callable[[], Sink]:
    """What makes a sink; its package is imported when that is called.

    Args:
        name: of the sink.
        chosen: its settings.
        about: the run.
        clock: for the pauses between the tries of a webhook.
        url: the address of the webhook.
    """

    def build() -> Sink:
        match chosen:
            case settings.TensorboardSettings():
                from supervisor.sinks.tensorboard import TensorboardSink

                return TensorboardSink(_of_this_run(chosen.directory, name, about))
            case settings.PrometheusSettings():
                from supervisor.sinks.prometheus import PrometheusSink

                return PrometheusSink(about, chosen.host, chosen.port)
            case settings.OpentelemetrySettings():
                from supervisor.sinks.opentelemetry import OpentelemetrySink, over_http

                return OpentelemetrySink(about, over_http(chosen.endpoint, chosen.timeout_seconds), chosen.service)
            case settings.WebhookSettings():
                from supervisor.sinks.webhook import WebhookSink

                return WebhookSink(about, url or "", chosen.events, chosen.attempts, chosen.timeout_seconds, clock)
            case settings.CsvSettings():
                from supervisor.sinks.csv_store import CsvStore
                from supervisor.sinks.tables import TableSink

                return TableSink(CsvStore(_of_this_run(chosen.directory, name, about)))
            case settings.ParquetSettings():
                from supervisor.sinks.parquet_store import ParquetStore
                from supervisor.sinks.tables import TableSink

                return TableSink(ParquetStore(_of_this_run(chosen.directory, name, about)))
            case settings.WandbSettings():
                from supervisor.sinks.wandb import WandbSink

                return WandbSink(about, _of_all_runs(chosen.directory, name, about), chosen.project)
            case settings.MlflowSettings():
                from supervisor.sinks.mlflow import MlflowSink

                return MlflowSink(about, _of_all_runs(chosen.directory, name, about), chosen.experiment)
            case _:
                raise TypeError(f"no sink is made of {type(chosen).__name__}")

    return build


def _of_this_run(directory: str | None, name: str, about: AboutRun) -> Path:
    """A folder that no other run writes to."""
    return _of_all_runs(directory, name, about) if directory is None else Path(directory, about.name)


def _of_all_runs(directory: str | None, name: str, about: AboutRun) -> Path:
    """A folder that keeps its runs apart itself."""
    return RunLayout(about.run_dir).sinks / name if directory is None else Path(directory)


def _is_there(module: str) -> bool:
    """Whether a module can be imported, for real: a folder of its name beside the job, as its output, is none."""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    return found is not None and found.origin is not None
