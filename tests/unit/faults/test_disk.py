"""Faults of the disk: real files damaged, and writes that the kernel really refuses."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from supervisor.checkpoints import CheckpointStore
from supervisor.errors import CheckpointError
from supervisor.faults.disk import DiskFaults
from supervisor.faults.model import CorruptCheckpoint, Damage, DiskFull


def tree() -> dict[str, Any]:
    return {"moment": {"training": {"parameters": {"w": torch.ones(50, 50), "b": torch.ones(3)}}}}


def store_of(run_dir: Path, *steps: int, good: bool = False) -> CheckpointStore:
    store = CheckpointStore(run_dir / "checkpoints", "run")
    for step in steps:
        store.write(step, step, tree(), good=good)
    return store


def corrupt(mode: Damage) -> CorruptCheckpoint:
    return CorruptCheckpoint(at_batch=0, mode=mode)


@pytest.mark.parametrize(("mode", "told"), [(Damage.TRUNCATE, "torn"), (Damage.FLIP, "not what was written")], ids=str)
def test_the_newest_checkpoint_is_damaged_and_its_verification_says_so(mode: Damage, told: str, tmp_path: Path) -> None:
    store = store_of(tmp_path, 10, 20)
    strike = DiskFaults(tmp_path).prepare(corrupt(mode), 0)
    assert strike is not None
    assert strike.target == "checkpoints/step-00000020"
    store.verify(tmp_path / strike.target)
    strike.do()
    with pytest.raises(CheckpointError, match=told):
        store.verify(tmp_path / strike.target)
    store.verify(tmp_path / "checkpoints" / "step-00000010")


def test_a_flip_is_of_one_bit(tmp_path: Path) -> None:
    store_of(tmp_path, 10)
    path = tmp_path / "checkpoints" / "step-00000010" / "state.pt"
    before = path.read_bytes()
    strike = DiskFaults(tmp_path).prepare(corrupt(Damage.FLIP), 0)
    assert strike is not None
    strike.do()
    pairs = zip(before, path.read_bytes(), strict=True)
    assert sum((one ^ other).bit_count() for one, other in pairs) == 1


@pytest.mark.parametrize("good", [True, False])
def test_a_poisoned_state_is_written_as_a_writer_would(good: bool, tmp_path: Path) -> None:
    store = store_of(tmp_path, 10, good=good)
    faults = DiskFaults(tmp_path)
    strike = faults.prepare(corrupt(Damage.NAN), 0)
    assert strike is not None
    strike.do()
    (info,) = store.committed()
    assert (info.step, info.update, info.good) == (10, 10, good)
    parameters = store.load(info.path)["moment"]["training"]["parameters"]
    assert {name: int(held.isnan().sum()) for name, held in parameters.items()} == {"w": 1, "b": 0}


def test_a_checkpoint_that_is_torn_already_is_left_as_it_is(tmp_path: Path) -> None:
    store_of(tmp_path, 10)
    faults = DiskFaults(tmp_path)
    for mode in (Damage.TRUNCATE, Damage.NAN):
        strike = faults.prepare(corrupt(mode), 0)
        assert strike is not None
        size = (tmp_path / strike.target / "state.pt").stat().st_size
        strike.do()
    assert (tmp_path / "checkpoints" / "step-00000010" / "state.pt").stat().st_size == size


def test_there_is_nothing_to_damage_before_the_first_checkpoint(tmp_path: Path) -> None:
    assert DiskFaults(tmp_path).prepare(corrupt(Damage.TRUNCATE), 0) is None


def test_one_that_is_being_written_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(tmp_path, 10)
    unfinished = tmp_path / "checkpoints" / ".unfinished-step-00000020"
    unfinished.mkdir()

    def written(_seconds: float) -> None:
        unfinished.rmdir()
        store.write(20, 20, tree())

    monkeypatch.setattr("time.sleep", written)
    strike = DiskFaults(tmp_path).prepare(corrupt(Damage.TRUNCATE), 0)
    assert strike is not None
    assert strike.target == "checkpoints/step-00000020"


class TestFullDisk:
    @pytest.fixture(autouse=True)
    def _limit_put_back(self) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def test_writes_beyond_the_limit_fail_until_the_batches_are_over(self, tmp_path: Path) -> None:
        faults = DiskFaults(tmp_path)
        strike = faults.prepare(DiskFull(at_batch=7, batches=3, file_bytes=5000), 7)
        assert strike is not None
        assert strike.target == "files beyond 5000 bytes"
        strike.do()
        (tmp_path / "small").write_bytes(b"x" * 5000)
        for number in (7, 8, 9):
            faults.release(number)
            with pytest.raises(OSError, match="File too large"):
                (tmp_path / "large").write_bytes(b"x" * 5001)
        faults.release(10)
        (tmp_path / "large").write_bytes(b"x" * 5001)

    def test_by_default_half_of_the_newest_checkpoint_can_be_written(self, tmp_path: Path) -> None:
        fault = DiskFull(at_batch=0)
        strike = DiskFaults(tmp_path).prepare(fault, 0)
        assert strike is not None
        assert strike.target == "files beyond 4096 bytes"
        store_of(tmp_path, 10)
        size = (tmp_path / "checkpoints" / "step-00000010" / "state.pt").stat().st_size
        strike = DiskFaults(tmp_path).prepare(fault, 0)
        assert strike is not None
        assert strike.target == f"files beyond {size // 2} bytes"

    def test_a_second_one_meanwhile_does_not_make_the_limit_stay(self, tmp_path: Path) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        faults = DiskFaults(tmp_path)
        for number, limit in ((0, 9000), (1, 7000)):
            strike = faults.prepare(DiskFull(at_batch=number, batches=2, file_bytes=limit), number)
            assert strike is not None
            strike.do()
        faults.release(2)
        assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == 7000
        faults.release(3)
        assert resource.getrlimit(resource.RLIMIT_FSIZE) == before
