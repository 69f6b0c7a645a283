"""The list of samples that are left out: written whole, and read with the line of each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.events.quarantine_file import QuarantinedSample, read_quarantine, write_quarantine

SAMPLES = (
    QuarantinedSample(index=17, incident=1, step=12, update=14, batch_number=13, reason="NaN"),
    QuarantinedSample(index="row b"),
)


def test_what_is_written_reads_back_and_replaces_what_was_there(tmp_path: Path):
    path = tmp_path / "quarantine.jsonl"
    write_quarantine(path, SAMPLES[1:])
    write_quarantine(path, SAMPLES)

    assert read_quarantine(path) == SAMPLES
    assert read_quarantine(str(path)) == SAMPLES
    assert list(tmp_path.iterdir()) == [path]


def test_a_list_that_a_person_wrote(tmp_path: Path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"index": 3, "note": "by hand"}\n\n  \n{"index": "b"}', encoding="utf-8")

    assert [sample.index for sample in read_quarantine(path)] == [3, "b"]


def test_every_line_that_is_no_sample_is_named(tmp_path: Path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"index": 3}\n{"row": 4}\n{"index": 1.5}\n17\n{"index": 3, "step": "4"}\n', encoding="utf-8")

    with pytest.raises(InputError) as refused:
        read_quarantine(path)
    mend = 'is no quarantined sample: write {"index": 123}'
    assert refused.value.problems == tuple(f"{path}:{number}: {mend}" for number in (2, 3, 4, 5))


def test_a_file_that_cannot_be_read_is_bad_input(tmp_path: Path):
    with pytest.raises(InputError, match=r"gone: cannot be read \(No such file or directory\): give"):
        read_quarantine(tmp_path / "gone")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"binary: cannot be read \(not a text file\): give"):
        read_quarantine(tmp_path / "binary")


def test_a_list_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_quarantine(tmp_path / "file" / "quarantine.jsonl", SAMPLES)
