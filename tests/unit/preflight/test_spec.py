"""What the process is told arrives whole, and its files lie in the folder that is removed afterwards."""

from __future__ import annotations

from collections.abc import Callable

from supervisor.preflight.spec import PreflightSpec


def test_it_arrives_as_it_was_sent(spec: Callable[..., PreflightSpec]) -> None:
    sent = spec(rows=7)
    assert PreflightSpec.model_validate_json(sent.model_dump_json()) == sent


def test_its_files_lie_in_the_folder_that_goes(spec: Callable[..., PreflightSpec]) -> None:
    told = spec()
    files = [told.report, told.phase, told.quarantine, told.run_dir]
    assert {file.parent for file in files} == {told.folder}
    assert len(set(files)) == 4
    assert told.run_dir != told.worker.run_dir
