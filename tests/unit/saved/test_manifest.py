"""What a checkpoint says of itself."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from supervisor.saved.manifest import FileRecord, GoodMark, Manifest, sha256_of

DIGEST = "0123456789abcdef" * 4
MANIFEST = Manifest(step=5, update=7, run_id="r", files={"state.pt": FileRecord(sha256=DIGEST, bytes=3)})


def test_digest_and_size_are_those_of_the_file(tmp_path: Path) -> None:
    content = b"x" * 100_000 + b"\n"
    (tmp_path / "file").write_bytes(content)
    expected = FileRecord(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    assert sha256_of(tmp_path / "file") == expected
    with pytest.raises(FileNotFoundError):
        sha256_of(tmp_path / "gone")


def test_a_manifest_reads_back() -> None:
    text = MANIFEST.model_dump_json(by_alias=True)
    assert list(json.loads(text)) == ["schema", "step", "update", "run_id", "files"]
    assert Manifest.model_validate_json(text) == MANIFEST


def test_a_later_version_may_add_to_it() -> None:
    plain = {**MANIFEST.model_dump(by_alias=True), "rank": 3}
    assert Manifest.model_validate(plain) == MANIFEST


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": 2},
        {"step": -1},
        {"step": "5"},
        {"update": None},
        {"run_id": 7},
        {"files": {"state.pt": {"sha256": DIGEST[:-1], "bytes": 1}}},
        {"files": {"state.pt": {"sha256": DIGEST.upper(), "bytes": 1}}},
        {"files": {"state.pt": {"sha256": DIGEST, "bytes": -1}}},
    ],
)
def test_a_manifest_of_another_form_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Manifest.model_validate({**MANIFEST.model_dump(by_alias=True), **changed})


def test_a_mark_names_one_manifest() -> None:
    mark = GoodMark(manifest_sha256=DIGEST)
    assert GoodMark.model_validate_json(mark.model_dump_json(by_alias=True)) == mark
    for wrong in ({}, {"manifest_sha256": "good"}, {"schema": 2, "manifest_sha256": DIGEST}):
        with pytest.raises(ValidationError):
            GoodMark.model_validate(wrong)
