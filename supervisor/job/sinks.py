"""`Sinks`: what a job says under `sinks`, one section a sink."""

from __future__ import annotations

import contextlib
import re
import urllib.parse
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from supervisor.config.section import Count, Seconds, Section, conflict
from supervisor.config.switching_off import NULL_IS_ON
from supervisor.events.schema import no_such_event

__all__ = [
    "CsvSettings",
    "MlflowSettings",
    "OpentelemetrySettings",
    "ParquetSettings",
    "PrometheusSettings",
    "Sinks",
    "TensorboardSettings",
    "WandbSettings",
    "WebhookSettings",
]

_HTTP = re.compile(r"https?://[!-.0-~][!-~]*")
_WRITE_A_URL = "write `https://host/path`, in printable ASCII without blanks"

Text = Annotated[str, Field(strict=True, min_length=1, max_length=200)]
Folder = Annotated[str, Field(strict=True, min_length=1, max_length=4096, examples=["logs/mine"])]

TOLD = ("incident_opened", "incident_closed", "data_shift", "worker_exited", "worker_stalled")
ENDS = ("run_halted", "run_finished")


class _Files(Section):
    """A sink that writes files."""

    @field_validator("directory", check_fields=False)
    @classmethod
    def _is_a_path(cls, path: str | None) -> str | None:
        if path is not None and (not path.strip() or "\0" in path):
            raise conflict("is not a path", "write a folder, as `directory: logs/mine`")
        return path


class _OfOneRun(_Files):
    """A sink whose folder belongs to one run."""

    directory: Folder | None = None
    """Folder in which its files get one of the run's name, relative to the working directory; null: one of the sink's
    name in `sinks/` of the run directory."""


class _OfManyRuns(_Files):
    """A sink whose folder may hold many runs."""

    directory: Folder | None = None
    """Folder that may hold many runs, relative to the working directory; null: one of the sink's name in `sinks/` of
    the run directory."""


class TensorboardSettings(_OfOneRun):
    """TensorBoard: scalars, and each incident as text at its step."""


class CsvSettings(_OfOneRun):
    """CSV tables: `steps.csv`, `evaluations.csv` and `incidents.csv`."""


class ParquetSettings(_OfOneRun):
    """The tables of the CSV sink as Parquet files."""


class WandbSettings(_OfManyRuns):
    """Weights & Biases, offline: `wandb sync` uploads what it wrote."""

    project: Text = "supervisor"
    """The project that the run belongs to."""


class MlflowSettings(_OfManyRuns):
    """MLflow, into a local file store."""

    experiment: Text = "supervisor"
    """The experiment that the run belongs to."""


class PrometheusSettings(Section):
    """Prometheus: an endpoint to be scraped, as long as the run goes on."""

    host: Text = "127.0.0.1"
    """Address to listen on; `0.0.0.0` lets other machines read it, and nothing asks them who they are."""
    port: Annotated[int, Field(strict=True, ge=0, le=65535)] = 9464
    """Port to listen on; 0: a free one, which is told as the run starts."""


class OpentelemetrySettings(Section):
    """OpenTelemetry: each incident as a span, its decisions and experiments as events of it."""

    endpoint: Annotated[str, Field(strict=True, max_length=4096)] = "http://127.0.0.1:4318/v1/traces"
    """Where spans are sent by OTLP over HTTP; headers come from `OTEL_EXPORTER_OTLP_HEADERS`."""
    service: Text = "supervisor"
    """The `service.name` of the spans."""
    timeout_seconds: Seconds = 10.0
    """How long one delivery may take."""

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, endpoint: str) -> str:
        if not _HTTP.fullmatch(endpoint):
            raise conflict("is not the address of a collector", _WRITE_A_URL)
        return endpoint


class WebhookSettings(Section):
    """A webhook: Slack-compatible JSON, posted at chosen events.

    The address is a secret. One of `url`, `url_env` and `url_file` says it.
    """

    url: SecretStr | None = None
    """The address itself. The run directory keeps it in a file of its own, which its owner alone can read."""
    url_env: Text | None = None
    """Name of an environment variable that holds the address."""
    url_file: Annotated[str, Field(strict=True, min_length=1, max_length=4096)] | None = None
    """A file that holds the address, relative to the job file."""
    events: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)] = (*TOLD, *ENDS)
    """Names of the events that are posted; of `worker_exited` those in good order are left out."""
    attempts: Count = 5
    """How often one message is tried, with pauses that double from half a second."""
    timeout_seconds: Seconds = 10.0
    """How long one try may take."""

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not is_web_address(url.get_secret_value()):
            raise conflict("is not the address of a webhook", _WRITE_A_URL)
        return url

    @field_validator("events")
    @classmethod
    def _are_events(cls, events: tuple[str, ...]) -> tuple[str, ...]:
        for name in events:
            mend = no_such_event(name)
            if mend is not None:
                # What the command line would have it written as, as in a list.
                raise conflict(f'"{name[:60]}" is no event', mend.replace("--event ", ""))
        return tuple(dict.fromkeys(events))

    @model_validator(mode="after")
    def _has_one_address(self) -> WebhookSettings:
        given = [name for name in ("url", "url_env", "url_file") if getattr(self, name) is not None]
        if not given:
            raise conflict("names no address", "write `url_env: NAME`, `url_file: PATH` or `url: https://...`")
        if len(given) > 1:
            raise conflict("more than one says the address", f"write one of {', '.join(given)}", *given)
        return self


def is_web_address(text: str) -> bool:
    """Whether a text is an address that can be posted to: without a name and a password in it."""
    with contextlib.suppress(ValueError):
        parts = urllib.parse.urlsplit(text)
        return _HTTP.fullmatch(text) is not None and parts.username is None and parts.port != 0
    return False


def _on_or_off(value: Any) -> Any:
    """A name with nothing behind it switches its sink on, with what holds by default; `false` switches it off."""
    if value is None:
        return {}
    return None if value is False else value


def _address_alone(value: Any) -> Any:
    """An address in the place of the section is its `url`; no message quotes it then, as it would a wrong value."""
    return {"url": value} if isinstance(value, str) else value


def _is_none(value: object) -> bool:
    return value is None


_Switch = BeforeValidator(_on_or_off)


class Sinks(Section):
    """Where the run is shown beside its log. A name with nothing behind it switches its sink on; `false`: off."""

    flush_seconds: Seconds = 5.0
    """How long the sinks may take, all together, to hand on what is left when the run has ended."""
    tensorboard: Annotated[TensorboardSettings | None, _Switch, NULL_IS_ON] = Field(None, exclude_if=_is_none)
    """Scalars and incidents for TensorBoard."""
    prometheus: Annotated[PrometheusSettings | None, _Switch, NULL_IS_ON] = Field(None, exclude_if=_is_none)
    """Metrics for Prometheus."""
    opentelemetry: Annotated[OpentelemetrySettings | None, _Switch, NULL_IS_ON] = Field(None, exclude_if=_is_none)
    """Incidents as spans for OpenTelemetry."""
    webhook: Annotated[WebhookSettings | None, BeforeValidator(_address_alone), _Switch, NULL_IS_ON] = Field(
        None, exclude_if=_is_none
    )
    """Messages to a webhook, as of Slack."""
    csv: Annotated[CsvSettings | None, _Switch, NULL_IS_ON] = Field(None, exclude_if=_is_none)
    """Tables as CSV."""
    parquet: Annotated[ParquetSettings | None, _Switch, NULL_IS_ON] = Field(None, exclude_if=_is_none)
    """Tables as Parquet."""
    wandb: Annotated[WandbSettings | None, _Switch, NULL_IS_ON] = Field(None, exclude_if=_is_none)
    """A run for Weights & Biases."""
    mlflow: Annotated[MlflowSettings | None, _Switch, NULL_IS_ON] = Field(None, exclude_if=_is_none)
    """A run for MLflow."""

    def on(self) -> dict[str, Section]:
        """The sinks that are on, by name."""
        fields = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: value for name, value in fields if isinstance(value, Section)}
