"""What a job says of its sinks, and what is said of mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.job import Sinks, dump_job, load_job
from supervisor.job.sinks import WebhookSettings, is_web_address

SECRET = "https://hooks.example.com/services/T0/SECRET"


def job(tmp_path: Path, sinks: str) -> str:
    path = tmp_path / "job.yaml"
    path.write_text(f"trainer: mine:Tiny\nsteps: 5\nsinks:{sinks}")
    return str(path)


def loaded(tmp_path: Path, sinks: str, *flags: str) -> Sinks:
    found = load_job(job(tmp_path, sinks), overrides=flags).job.sinks
    assert found is not None
    return found


def test_a_name_with_nothing_behind_it_switches_its_sink_on(tmp_path: Path) -> None:
    found = loaded(tmp_path, "\n  tensorboard:\n  csv: {directory: tables}\n  wandb: false\n")
    assert [*found.on()] == ["tensorboard", "csv"]
    assert found.csv is not None
    assert (found.csv.directory, found.flush_seconds) == ("tables", 5.0)


def test_without_the_key_there_are_none(tmp_path: Path) -> None:
    assert load_job(job(tmp_path, "")).job.sinks is None


def test_flags_switch_on_and_off_and_set_a_value(tmp_path: Path) -> None:
    flags = ("sinks.prometheus.port=0", "sinks.csv=false", "sinks.parquet=null", "sinks.flush_seconds=1")
    found = loaded(tmp_path, "\n  csv:\n", *flags)
    assert [*found.on()] == ["prometheus", "parquet"]
    assert found.prometheus is not None
    assert (found.prometheus.port, found.prometheus.host, found.flush_seconds) == (0, "127.0.0.1", 1.0)


@pytest.mark.parametrize(
    ("sinks", "said"),
    [
        (" {tensorbord: }", "job.yaml:3: sinks.tensorbord: no such key: write `tensorboard`"),
        (
            " {graphite: }",
            "job.yaml:3: sinks.graphite: no such key: remove it, or write one of: csv, flush_seconds, mlflow, "
            "opentelemetry, parquet, prometheus, tensorboard, wandb, webhook",
        ),
        (" [csv]", "job.yaml:3: sinks: a list is not a mapping: write keys and values"),
        (
            "\n  csv: yes please",
            'job.yaml:4: sinks.csv: "yes please" is not a mapping: write keys and values (directory), `csv: false` to '
            "switch it off, or nothing behind it for the defaults",
        ),
        ("\n  csv: {enabled: true}", "sinks.csv.enabled: no such key: write `csv: false` to switch it off"),
        ("\n  csv: {directory: ' '}", "sinks.csv.directory: is not a path: write a folder"),
        ("\n  prometheus: {port: 70000}", "sinks.prometheus.port: 70000 is too large: write `port: 65535` or less"),
        ("\n  opentelemetry: {endpoint: here}", "sinks.opentelemetry.endpoint: is not the address of a collector"),
        ("\n  webhook:", "sinks.webhook: names no address: write `url_env: NAME`"),
        ("\n  webhook: {url_env: A, url_file: b}", "more than one says the address: write one of url_env, url_file"),
        ("\n  webhook: {url_env: A, events: [stepp]}", 'sinks.webhook.events: "stepp" is no event: write one of'),
        ("\n  webhook: {url_env: A, events: [loss_spike]}", "it is a signal: write signal"),
        ("\n  webhook: {url_env: A, events: []}", "sinks.webhook.events: has 0 items: write at least 1"),
        ("\n  webhook: {url_env: A, attempts: 0}", "sinks.webhook.attempts: 0 is too small: write `attempts: 1`"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_write(tmp_path: Path, sinks: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        load_job(job(tmp_path, sinks))
    assert said in str(raised.value)


@pytest.mark.parametrize("url", ["hooks.example.com/SECRET", "https://a b/SECRET", "ftp://SECRET", "https://é/SECRET"])
def test_a_mistake_in_the_address_does_not_tell_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="is not the address of a webhook") as raised:
        load_job(job(tmp_path, f"\n  webhook: {{url: '{url}'}}"))
    assert "SECRET" not in str(raised.value)


def test_an_address_in_the_place_of_the_section_is_its_url(tmp_path: Path) -> None:
    webhook = loaded(tmp_path, f"\n  webhook: {SECRET}").webhook
    assert webhook is not None
    assert webhook.url is not None
    assert webhook.url.get_secret_value() == SECRET
    with pytest.raises(InputError, match=r"job.yaml:4: sinks.webhook: is not the address of a webhook") as raised:
        loaded(tmp_path, "\n  webhook: ftp://h/SECRET")
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    "flag",
    ["sinks.webhook.url=ftp://h/SECRET", "sinks.webhook={url: ftp://h/SECRET}", "sinks={webhook: ftp://h/SECRET}"],
)
def test_a_mistake_in_a_flag_does_not_tell_the_address(tmp_path: Path, flag: str) -> None:
    with pytest.raises(InputError, match=r"--set sinks(.webhook(.url)?)?=\.\.\.: .*is not the address") as raised:
        loaded(tmp_path, "", flag)
    assert "SECRET" not in str(raised.value)


def test_an_address_is_never_shown() -> None:
    settings = WebhookSettings.model_validate({"url": SECRET})
    assert "SECRET" not in f"{settings!r} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (SECRET, True),
        ("http://h", True),
        ("http:///x", False),
        ("", False),
        ("http://a:b@h/x", False),
        ("http://h:b/x", False),
    ],
)
def test_what_an_address_is(text: str, is_one: bool) -> None:
    assert is_web_address(text) is is_one


def test_the_job_of_a_run_directory_says_the_same(tmp_path: Path) -> None:
    resolved = load_job(job(tmp_path, "\n  tensorboard:\n  prometheus: {port: 0}\n"), run_dir=str(tmp_path / "run"))
    resolved.run_dir.mkdir()
    written = dump_job(resolved, resolved.run_dir)
    (resolved.run_dir / "policy.yaml").write_text("version: 1\n")
    assert load_job(str(written)).job.sinks == resolved.job.sinks
