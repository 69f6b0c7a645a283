"""What every update measured, kept for a replay."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.events.observation_file import ObservationFile, read_observations
from supervisor.records import Observation
from supervisor.run_layout import RunLayout

SEEN = Observation(step=3, update=4, loss=math.nan, grad_norm=math.inf)


@pytest.fixture
def file(tmp_path: Path) -> ObservationFile:
    return ObservationFile(RunLayout(tmp_path).observations)


def test_what_is_written_is_strict_json_that_reads_back(tmp_path: Path, file: ObservationFile):
    file.write(SEEN)

    line = json.loads(RunLayout(tmp_path).observations.read_text())
    assert (line["update"], line["loss"], line["grad_norm"]) == (4, "nan", "inf")
    found = read_observations(tmp_path)
    assert found is not None
    assert repr(found) == repr({4: SEEN})


def test_a_run_that_kept_none(tmp_path: Path):
    assert read_observations(tmp_path) is None


def test_of_an_update_that_was_measured_twice_the_last_time_counts(tmp_path: Path, file: ObservationFile):
    for update, loss in ((1, 0.5), (2, 0.25), (1, 0.75)):
        file.write(replace(SEEN, update=update, loss=loss))
        file.close()

    found = read_observations(tmp_path)
    assert found is not None
    assert {update: each.loss for update, each in found.items()} == {1: 0.75, 2: 0.25}


def test_a_torn_end_is_left_out_and_damage_before_it_is_named(tmp_path: Path, file: ObservationFile):
    file.write(SEEN)
    path = RunLayout(tmp_path).observations
    whole = path.read_bytes()
    for torn in (b'{"upd', b'{"update": 5}\n'):
        path.write_bytes(whole + torn)
        found = read_observations(tmp_path)
        assert found is not None
        assert list(found) == [4]

    path.write_bytes(b"damaged\n" + whole)
    with pytest.raises(InputError, match=r"observations\.jsonl:1: not an observation: restore or delete the file"):
        read_observations(tmp_path)


def test_a_disk_that_refuses_stops_nothing(tmp_path: Path):
    (tmp_path / "file").touch()
    ObservationFile(tmp_path / "file" / "observations.jsonl").write(SEEN)
    assert (tmp_path / "file").read_bytes() == b""
