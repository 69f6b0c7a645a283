"""There is one list of a preflight, and nothing but it is replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.events.quarantine_file import read_quarantine
from supervisor.job import ResolvedJob
from supervisor.preflight.bad_row_list import path_of_list, write_list
from supervisor.preflight.report import BadRow, DataCheck, RowFault

Resolve = Callable[..., ResolvedJob]
BAD = (
    BadRow(fault=RowFault.RAISES, index=3, what="ValueError: torn"),
    BadRow(fault=RowFault.NOT_FINITE, index=5, what="nan"),
    BadRow(fault=RowFault.FAR_OUTSIDE, batch=1, position=2, what="1e9"),
)
LIST = Path("job-quarantine.jsonl")


def data(*bad: BadRow, complete: bool = True) -> DataCheck:
    return DataCheck(unit="rows", total=9, read=9, complete=complete, rows=9, bad_rows=bad)


def listed(path: Path = LIST) -> list[int | str]:
    return [each.index for each in read_quarantine(path)]


def test_each_row_stands_with_its_reason(resolve: Resolve) -> None:
    job = resolve()
    assert path_of_list(job, None) == LIST
    assert write_list(LIST, job, data(*BAD)) == 2
    assert [(each.index, each.reason) for each in read_quarantine(LIST)] == [
        (3, "cannot be read: ValueError: torn"),
        (5, "not finite: nan"),
    ]
    assert json.loads(LIST.read_text().splitlines()[0])["incident"] is None


def test_nothing_is_written_where_nothing_is_wrong(resolve: Resolve) -> None:
    job = resolve()
    assert write_list(LIST, job, None) == write_list(LIST, job, data()) == write_list(LIST, job, data(BAD[2])) == 0
    assert not LIST.exists()


def test_the_list_of_an_earlier_preflight_is_replaced(resolve: Resolve) -> None:
    job = resolve()
    write_list(LIST, job, data(*BAD))
    assert path_of_list(job, None) == LIST == path_of_list(job, str(LIST))
    assert write_list(LIST, job, data(BAD[1])) == 1
    assert listed() == [5]


def test_a_look_at_some_rows_takes_none_out_of_it(resolve: Resolve) -> None:
    job = resolve()
    write_list(LIST, job, data(*BAD))
    assert write_list(LIST, job, data(BAD[1], complete=False)) == 2
    assert sorted(listed()) == [3, 5]


def test_the_same_list_is_not_written_again(resolve: Resolve) -> None:
    job = resolve()
    write_list(LIST, job, data(*BAD))
    before = LIST.stat().st_ino
    assert write_list(LIST, job, data(*BAD)) == 2
    assert LIST.stat().st_ino == before


def test_the_list_that_the_job_names_stays_and_the_new_one_takes_it_in(resolve: Resolve) -> None:
    LIST.write_text('{"index": 99}\n')
    job = resolve(quarantine=LIST.name)
    new = path_of_list(job, None)
    assert new == Path("job-quarantine-new.jsonl")
    assert write_list(new, job, data(*BAD)) == 3
    assert (listed(new), listed()) == ([99, 3, 5], [99])
    with pytest.raises(InputError, match=r"--quarantine-out ./job-quarantine\.jsonl: is the list that the job names"):
        path_of_list(job, "./job-quarantine.jsonl")


@pytest.mark.parametrize("held", ['{"index": 7, "incident": 1, "reason": "nan"}\n', '{"index": 7}\n', "a diary\n"])
def test_no_other_file_is_replaced(resolve: Resolve, held: str) -> None:
    job = resolve()
    LIST.write_text(held)
    assert path_of_list(job, None) == Path("job-quarantine-new.jsonl")
    with pytest.raises(InputError, match=r"is there already, and is no list of a preflight: write another name"):
        path_of_list(job, str(LIST))
    Path("job-quarantine-new.jsonl").write_text(held)
    with pytest.raises(InputError, match=r"job-quarantine-new\.jsonl: is there already, .* --quarantine-out"):
        path_of_list(job, None)


def test_a_list_that_cannot_be_written_is_bad_input(resolve: Resolve) -> None:
    Path("file").touch()
    with pytest.raises(InputError, match=r"file/mine\.jsonl: cannot be written"):
        write_list(Path("file/mine.jsonl"), resolve(), data(*BAD))
