from __future__ import annotations

from pathlib import Path

import pytest
from support.page_runs import JOB, SECRETS

from supervisor.page.resolved import HIDDEN, resolved_text, without_secrets


def test_secrets_of_sinks_are_hidden_and_the_rest_is_not(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    told = resolved_text(tmp_path / "job.yaml", "job")
    for secret in SECRETS:
        assert secret not in told
    for shown in ("url_env: HOOK", "run_halted", "max_tokens: 512", "width: 8", "webhook:", f"url: {HIDDEN}"):
        assert shown in told


@pytest.mark.parametrize(
    "key", ["url", "URL", "webhook_url", "headers", "token", "api_key", "dsn", "password", "endpoint"]
)
def test_below_sinks_each_of_these_is_a_secret(key: str) -> None:
    assert without_secrets({"sinks": {"mine": [{key: "x"}]}}) == {"sinks": {"mine": [{key: HIDDEN}]}}


@pytest.mark.parametrize("key", ["password", "api_key", "access_token", "client_secret", "token"])
def test_anywhere_each_of_these_is_one(key: str) -> None:
    assert without_secrets({"config": {key: "x"}}) == {"config": {key: HIDDEN}}


@pytest.mark.parametrize("key", ["url", "tokenizer", "max_tokens", "key", "keep", "author", "port", "headers"])
def test_elsewhere_a_word_like_one_is_none(key: str) -> None:
    assert without_secrets({"config": {key: 5}}) == {"config": {key: 5}}


def test_the_user_in_an_address_is_hidden_wherever_it_stands() -> None:
    assert without_secrets({"data": "s3://me:pw@host/x"}) == {"data": f"s3://{HIDDEN}@host/x"}


def test_a_file_that_cannot_be_read_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(f"sinks: {{url: '{SECRETS[0]}'\n  token: [")
    told = resolved_text(tmp_path / "job.yaml", "job")
    assert told.startswith("# job.yaml cannot be shown")
    assert SECRETS[0] not in told
    assert "no job.yaml" in resolved_text(tmp_path / "none" / "job.yaml", "job")
