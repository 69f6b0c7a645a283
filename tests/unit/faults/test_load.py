"""Fault scripts from files and from jobs, and their mistakes with line, key and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.config.origins import Origins
from supervisor.config.yaml_source import parse_yaml
from supervisor.errors import InputError
from supervisor.faults.load import check_faults, fault_script, load_faults
from supervisor.faults.model import NanBatch

JOB = Origins("job.yaml", {(): 1, ("faults",): 4, ("faults", 0): 5, ("faults", 0, "kind"): 5})


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_no_script_has_no_faults() -> None:
    assert load_faults(None, JOB) == ()


def test_a_file_and_a_list_say_the_same() -> None:
    Path("faults.yaml").write_text("version: 1\nfaults:\n  - {kind: nan_batch, at_batch: 5}\n")
    written = [{"kind": "nan_batch", "at_batch": 5}]
    assert load_faults("faults.yaml", JOB) == load_faults(written, JOB) == (NanBatch(at_batch=5),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("faults:\n  - {kind: nan_wait, at_batch: 1}\n", '2: faults.0.kind: "nan_wait" is not a kind: write '),
        ("faults:\n  - at_batch: 1\n", "2: faults.0: has no kind: write `kind:` with one of: nan_batch"),
        ("faults:\n  - nan_batch\n", '2: faults.0: "nan_batch" is text, not a fault: write {kind: nan_batch}'),
        ("faults: []\nparameter: x\n", "2: parameter: no such key: write it in a fault of the `faults`"),
        ("faults:\n  - {kind: hang}\n", "2: faults.0.at_batch: is missing, and so is rate: write "),
        ("- kind: hang\n", "1: a list is not a mapping: write keys and values, as `version: 1`"),
        ("", "1: is empty: write at least `version: 1` and a list `faults:`"),
        ("faults: 5\nversion: !x 1\n", "1: faults: 5 is not a list: write its items"),
    ],
)
def test_a_mistake_in_a_file_is_named(text: str, problem: str) -> None:
    Path("faults.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_faults("faults.yaml", JOB)
    assert caught.value.problems[0].startswith(f"faults.yaml:{problem}")


def test_a_mistake_in_a_list_is_named_where_the_job_has_it() -> None:
    with pytest.raises(InputError) as caught:
        load_faults([{"kind": "nan_batch", "at_batch": -1}], JOB)
    assert str(caught.value).startswith("job.yaml:5: faults.0.at_batch: -1 is too small: write `at_batch: 0` or more")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: no such file: write the path of a faults file"):
        fault_script("nowhere.yaml", JOB)


def test_all_mistakes_are_told_at_once() -> None:
    script, problems = check_faults(parse_yaml("version: 2\nfaults:\n  - {kind: hang, at_batch: x}\n", "f.yaml"))
    assert script is None
    assert [problem.path for problem in problems] == [("version",), ("faults", 0, "at_batch")]
