"""The checkpoint store: whole or absent, verified before it is read; and writing in a thread beside the training."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import shutil
import threading
import zipfile
from collections import Counter, OrderedDict
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.command import PATIENCE_SECONDS
from support.parts import files_no_larger_than

from supervisor.checkpoints import BackgroundWriter, CheckpointStore
from supervisor.errors import CheckpointError
from supervisor.saved.manifest import GoodMark, sha256_of
from supervisor.testing.clock import FakeClock
from supervisor.training.rng import capture_rng
from supervisor.training.tree import tensors


def tree(seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "weights": torch.randn(30, 7, generator=generator),
        "half": torch.randn(5, generator=generator).to(torch.bfloat16),
        "nan": torch.tensor([float("nan"), -0.0, float("inf")]),
        "empty": torch.zeros(0, 3),
        "flags": torch.tensor([True, False]),
        "complex": torch.tensor([1 + 2j]),
        "strided": torch.arange(6.0).reshape(2, 3).t(),
        "rng": capture_rng(),
        "plain": [1, 2.5, "text", None, True, (b"bytes", float("inf"))],
        "deep": {"a": [{"b": torch.ones(1)}], 3: "int key"},
    }


def assert_same(a: Any, b: Any) -> None:
    for (path, left), (other, right) in zip(tensors(a), tensors(b), strict=True):
        assert path == other
        assert left.dtype == right.dtype
        if left.is_floating_point():
            left, right = left.nan_to_num(7.0, 8.0, 9.0), right.nan_to_num(7.0, 8.0, 9.0)
        assert torch.equal(left, right), path
    assert repr(a["plain"]) == repr(b["plain"])


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", "run-1", FakeClock())


class TestRoundTrip:
    def test_everything_comes_back(self, store: CheckpointStore) -> None:
        path = store.write(200, 251, tree())
        assert path == store.directory / "step-00000200"
        assert_same(store.load(path), tree())

    def test_the_manifest_says_what_is_there(self, store: CheckpointStore) -> None:
        path = store.write(200, 251, tree())
        manifest = json.loads((path / "manifest.json").read_text())
        state = path / "state.pt"
        digest = sha256_of(state).sha256
        assert manifest == {
            "schema": 1,
            "step": 200,
            "update": 251,
            "run_id": "run-1",
            "files": {"state.pt": {"sha256": digest, "bytes": state.stat().st_size}},
        }
        assert sorted(each.name for each in path.iterdir()) == ["manifest.json", "state.pt"]
        assert store.verify(path).update == 251

    def test_what_is_not_plain_becomes_so(self, store: CheckpointStore) -> None:
        state = {"counter": Counter("aab"), "ordered": OrderedDict(a=1), "numpy": np.float64(0.5)}
        assert store.load(store.write(1, 1, state)) == {"counter": {"a": 2, "b": 1}, "ordered": {"a": 1}, "numpy": 0.5}

    def test_what_cannot_be_plain_is_refused_before_anything_is_written(self, store: CheckpointStore) -> None:
        with pytest.raises(TypeError, match=r"state\.scheduler\.0: a function"):
            store.write(1, 1, {"scheduler": [lambda: None]})
        assert not store.directory.exists()

    def test_a_step_of_any_size_has_a_name(self, store: CheckpointStore) -> None:
        for step in (0, 99_999_999, 123_456_789_012):
            path = store.write(step, step, {"step": step})
            assert store.load(path) == {"step": step}
        assert [info.step for info in store.committed()] == [123_456_789_012, 99_999_999, 0]


class TestDamage:
    @pytest.fixture
    def path(self, store: CheckpointStore) -> Path:
        return store.write(5, 7, {"weights": torch.arange(40.0), "plain": "text"})

    def refused(self, store: CheckpointStore, path: Path, why: str) -> None:
        for read in (store.verify, store.load):
            with pytest.raises(CheckpointError, match=why) as caught:
                read(path)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
    def test_a_torn_file(self, store: CheckpointStore, path: Path, share: float) -> None:
        state = path / "state.pt"
        os.truncate(state, int(state.stat().st_size * share))
        self.refused(store, path, "state.pt has .* bytes, not .*: torn")

    def test_a_file_that_grew(self, store: CheckpointStore, path: Path) -> None:
        with (path / "state.pt").open("ab") as file:
            file.write(b"\0")
        self.refused(store, path, "torn")

    def test_one_flipped_bit_anywhere(self, store: CheckpointStore, path: Path) -> None:
        state = path / "state.pt"
        original = state.read_bytes()
        for place in range(0, len(original), 13):
            altered = bytearray(original)
            altered[place] ^= 1 << place % 8
            state.write_bytes(bytes(altered))
            with pytest.raises(CheckpointError, match="SHA-256 differs"):
                store.verify(path)
        self.refused(store, path, "SHA-256 differs")
        state.write_bytes(original)
        store.load(path)

    def test_one_flipped_bit_of_the_manifest_never_loads_other_numbers(self, store: CheckpointStore) -> None:
        path = store.write(5, 7, {"weights": torch.arange(4.0)}, good=True)
        manifest = path / "manifest.json"
        original = manifest.read_bytes()
        for place in range(len(original)):
            altered = bytearray(original)
            altered[place] ^= 1
            manifest.write_bytes(bytes(altered))
            assert not store.committed()[0].good
            with contextlib.suppress(CheckpointError):
                assert torch.equal(store.load(path)["weights"], torch.arange(4.0))
        manifest.write_bytes(original)
        assert store.committed()[0].good

    def test_missing_files(self, store: CheckpointStore, path: Path) -> None:
        (path / "state.pt").unlink()
        self.refused(store, path, "state.pt cannot be read")
        (path / "manifest.json").unlink()
        self.refused(store, path, r"step-00000005: no manifest\.json")
        shutil.rmtree(path)
        self.refused(store, path, r"no manifest\.json")

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1}', "\xff", "[" * 100_000])
    def test_a_manifest_that_is_none(self, store: CheckpointStore, path: Path, text: str) -> None:
        (path / "manifest.json").write_bytes(text.encode("latin-1"))
        self.refused(store, path, r"manifest\.json cannot be read")

    def rewrite(self, path: Path, **changed: Any) -> None:
        manifest = path / "manifest.json"
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **changed}))

    @pytest.mark.parametrize(
        "changed",
        [
            {"schema": 2},
            {"step": -1},
            {"step": "5"},
            {"step": True},
            {"update": None},
            {"files": {"state.pt": {"sha256": "0" * 63, "bytes": 1}}},
            {"files": {"state.pt": {"sha256": "0" * 64, "bytes": -1}}},
        ],
    )
    def test_a_manifest_of_another_form(self, store: CheckpointStore, path: Path, changed: dict[str, Any]) -> None:
        self.rewrite(path, **changed)
        self.refused(store, path, r"manifest\.json cannot be read")

    def test_the_manifest_of_another_step(self, store: CheckpointStore, path: Path) -> None:
        self.rewrite(path, step=6)
        self.refused(store, path, "step-00000005: its manifest is of step 6")

    def test_a_checkpoint_under_another_name(self, store: CheckpointStore, path: Path) -> None:
        moved = path.rename(path.with_name("step-00000009"))
        self.refused(store, moved, "its manifest is of step 5")

    def test_a_manifest_that_does_not_list_the_state(self, store: CheckpointStore, path: Path) -> None:
        self.rewrite(path, files={})
        self.refused(store, path, r"does not list state\.pt")

    @pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sub/file", "..", ".", "", "nul\0", "../step-5"])
    def test_a_manifest_that_leads_out_of_the_directory(self, store: CheckpointStore, path: Path, name: str) -> None:
        outside = store.directory / "outside"
        outside.write_text("secret")
        record = sha256_of(outside).model_dump()
        files = json.loads((path / "manifest.json").read_text())["files"]
        self.rewrite(path, files={**files, name: record})
        self.refused(store, path, "is not a file of the checkpoint|cannot be read")

    def sealed(self, path: Path) -> None:
        """Make the manifest agree with whatever the file holds now."""
        self.rewrite(path, files={"state.pt": sha256_of(path / "state.pt").model_dump()})

    @pytest.mark.parametrize("legacy", [True, False])
    def test_a_pickle_with_code_in_it_is_not_executed(
        self, store: CheckpointStore, path: Path, tmp_path: Path, legacy: bool
    ) -> None:
        victim = tmp_path / "executed"

        class Bomb:
            def __reduce__(self) -> Any:
                return (os.system, (f"touch {victim}",))

        if legacy:
            (path / "state.pt").write_bytes(pickle.dumps(Bomb()))
        else:
            torch.save({"weights": Bomb()}, path / "state.pt")
        self.sealed(path)
        store.verify(path)
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            store.load(path)
        assert not victim.exists()
        # It would have been: the bomb is a real one.
        torch.load(path / "state.pt", weights_only=False) if not legacy else pickle.loads(
            (path / "state.pt").read_bytes()
        )
        assert victim.exists()

    @pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 torn"])
    def test_a_file_that_is_no_archive(self, store: CheckpointStore, path: Path, content: bytes) -> None:
        (path / "state.pt").write_bytes(content)
        self.sealed(path)
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            store.load(path)

    def test_an_archive_of_something_else(self, store: CheckpointStore, path: Path) -> None:
        with zipfile.ZipFile(path / "state.pt", "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02.")
        self.sealed(path)
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            store.load(path)


class TestCommitted:
    def test_none_before_the_first(self, store: CheckpointStore) -> None:
        assert store.committed() == []
        store.recover()
        assert not store.directory.exists()

    def test_newest_first_by_update(self, store: CheckpointStore) -> None:
        for step, update in ((10, 10), (30, 30), (20, 45)):
            store.write(step, update, {})
        assert [(info.step, info.update, info.good) for info in store.committed()] == [
            (20, 45, False),
            (30, 30, False),
            (10, 10, False),
        ]

    def test_one_without_a_readable_manifest_comes_first(self, store: CheckpointStore) -> None:
        for step in (10, 20):
            store.write(step, step, {})
        (store.directory / "step-00000010" / "manifest.json").write_text("torn")
        (store.directory / "step-00000005").mkdir()
        assert [(info.step, info.update) for info in store.committed()] == [(10, None), (5, None), (20, 20)]

    def test_whatever_else_lies_there_is_no_checkpoint(self, store: CheckpointStore) -> None:
        store.write(1, 1, {})
        for name in ("step-1", "notes", "step-00000001.bak", ".unfinished-step-00000002"):
            (store.directory / name).mkdir()
        (store.directory / "step-00000003").write_text("a file")
        assert [info.path.name for info in store.committed()] == ["step-00000001"]


class TestGood:
    def test_a_promoted_one_is_good_and_still_loads(self, store: CheckpointStore) -> None:
        path = store.write(1, 1, {"a": 1})
        assert not store.committed()[0].good
        store.promote(path)
        assert store.committed()[0].good
        assert store.load(path) == {"a": 1}

    def test_it_can_be_good_from_the_start(self, store: CheckpointStore) -> None:
        store.write(1, 1, {}, good=True)
        assert store.committed()[0].good

    def test_the_mark_of_another_manifest_counts_for_nothing(self, store: CheckpointStore) -> None:
        good, other = store.write(1, 1, {}, good=True), store.write(2, 2, {})
        shutil.copy(good / "good.json", other / "good.json")
        assert {info.step: info.good for info in store.committed()} == {1: True, 2: False}

    @pytest.mark.parametrize("text", ["", "{}", "true", GoodMark(manifest_sha256="0" * 64).model_dump_json()])
    def test_a_mark_that_is_none(self, store: CheckpointStore, text: str) -> None:
        path = store.write(1, 1, {}, good=True)
        (path / "good.json").write_text(text)
        assert not store.committed()[0].good

    def test_one_that_is_not_there_cannot_be_promoted(self, store: CheckpointStore) -> None:
        with pytest.raises(CheckpointError, match="step-00000009 could not be written"):
            store.promote(store.directory / "step-00000009")


class TestReplacing:
    def test_a_state_of_the_same_step_replaces_one_on_probation(self, store: CheckpointStore) -> None:
        store.write(5, 5, {"v": 1})
        path = store.write(5, 9, {"v": 2})
        assert store.load(path) == {"v": 2}
        assert [(info.step, info.update) for info in store.committed()] == [(5, 9)]

    def test_a_good_one_replaces_a_good_one(self, store: CheckpointStore) -> None:
        store.write(5, 5, {"v": 1}, good=True)
        path = store.write(5, 9, {"v": 2}, good=True)
        assert path.name == "step-00000005"
        assert store.load(path) == {"v": 2}
        assert store.committed()[0].good

    def test_one_that_is_not_good_stands_beside_a_good_one(self, store: CheckpointStore) -> None:
        good = store.write(5, 5, {"v": 1}, good=True)
        beside = store.write(5, 9, {"v": 2})
        assert beside.name == "step-00000005-update-00000009"
        assert (store.load(good), store.load(beside)) == ({"v": 1}, {"v": 2})
        assert [(i.step, i.update, i.good) for i in store.committed()] == [(5, 9, False), (5, 5, True)]
        again = store.write(5, 9, {"v": 3})
        assert (again, store.load(again)) == (beside, {"v": 3})
        store.promote(beside)
        assert all(info.good for info in store.committed())

    def test_a_mark_does_not_outlive_what_it_marked(self, store: CheckpointStore) -> None:
        path = store.write(5, 5, {"v": 1})
        store.promote(path)
        store.retire(path)
        store.write(5, 9, {"v": 2})
        assert not store.committed()[0].good

    def test_nothing_is_left_behind(self, store: CheckpointStore) -> None:
        for version in range(3):
            store.write(5, version, {"v": version}, good=version == 2)
        assert [each.name for each in store.directory.iterdir()] == ["step-00000005"]


class TestRetire:
    def test_it_is_gone_and_the_others_stay(self, store: CheckpointStore) -> None:
        first, second = store.write(1, 1, {}), store.write(2, 2, {})
        store.retire(first)
        store.retire(first)
        assert [each.name for each in store.directory.iterdir()] == [second.name]


class TestRecover:
    def test_a_replacement_that_got_half_way_is_undone(self, store: CheckpointStore) -> None:
        path = store.write(5, 5, {"v": 1})
        path.rename(store.directory / ".replaced-step-00000005")
        (store.directory / ".unfinished-step-00000005").mkdir()
        store.recover()
        assert store.load(path) == {"v": 1}
        assert [each.name for each in store.directory.iterdir()] == [path.name]

    def test_a_replacement_that_was_done_stays_done(self, store: CheckpointStore) -> None:
        path = store.write(5, 5, {"v": 1})
        shutil.copytree(path, store.directory / ".replaced-step-00000005")
        store.write(6, 6, {})
        store.recover()
        assert sorted(each.name for each in store.directory.iterdir()) == ["step-00000005", "step-00000006"]


class TestFullDisk:
    @pytest.mark.parametrize("size", [0, 1, 100, 1500, 4096, 30_000])
    @pytest.mark.parametrize("same_step", [True, False])
    def test_it_is_an_error_and_the_older_ones_are_intact(
        self, store: CheckpointStore, size: int, same_step: bool
    ) -> None:
        older = store.write(1, 1, {"weights": torch.arange(20_000.0)})
        with files_no_larger_than(size), pytest.raises(CheckpointError, match="could not be written"):
            store.write(1 if same_step else 2, 2, {"weights": torch.ones(20_000)})
        assert [each.name for each in store.directory.iterdir()] == [older.name]
        assert torch.equal(store.load(older)["weights"], torch.arange(20_000.0))
        assert store.load(store.write(2, 3, {"v": 1})) == {"v": 1}

    def test_promotion_fails_and_the_checkpoint_stays_as_it_was(self, store: CheckpointStore) -> None:
        path = store.write(1, 1, {"v": 1})
        with files_no_larger_than(10), pytest.raises(CheckpointError):
            store.promote(path)
        assert not store.committed()[0].good
        assert store.load(path) == {"v": 1}
        store.promote(path)
        assert store.committed()[0].good

    def test_it_is_tried_again_before_it_is_given_up(self, tmp_path: Path) -> None:
        resources = contextlib.ExitStack()
        # The room comes back while the writer waits.
        clock = FakeClock(on_sleep=lambda _: resources.close())
        store = CheckpointStore(tmp_path / "checkpoints", "run", clock)
        resources.enter_context(files_no_larger_than(10))
        with resources:
            path = store.write(1, 1, {"v": 1}, good=True)
        assert store.load(path) == {"v": 1}
        assert len(clock.sleeps) == 1

    def test_a_directory_that_cannot_be_made_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "checkpoints").write_text("a file is in the way")
        clock = FakeClock()
        with pytest.raises(CheckpointError, match=os.strerror(errno.EEXIST)):
            CheckpointStore(tmp_path / "checkpoints", "run", clock).write(1, 1, {})
        assert len(clock.sleeps) == 2


def test_the_caller_goes_on_meanwhile() -> None:
    writer, gate, seen = BackgroundWriter(), threading.Event(), []
    writer.begin(lambda: gate.wait(PATIENCE_SECONDS), lambda done: seen.append(done.result()))
    writer.settle()
    assert seen == []
    gate.set()
    writer.settle(wait=True)
    assert seen == [True]


def test_one_after_the_other_and_reported_in_order_by_the_caller() -> None:
    writer, running, order = BackgroundWriter(), [], []
    threads: set[str] = set()

    def work(number: int) -> int:
        running.append(number)
        assert len(running) == 1
        running.pop()
        return number

    def report(done: Future[int]) -> None:
        threads.add(threading.current_thread().name)
        order.append(done.result())

    for number in range(50):
        writer.begin(lambda number=number: work(number), report)  # type: ignore[misc]
    writer.settle(wait=True)
    assert order == list(range(50))
    assert threads == {threading.current_thread().name}


def test_what_went_wrong_reaches_the_report() -> None:
    writer, found = BackgroundWriter(), []

    def fail() -> None:
        raise CheckpointError("no space")

    writer.begin(fail, lambda done: found.append(done.exception()))
    writer.begin(lambda: 1, lambda done: found.append(done.result()))
    writer.settle(wait=True)
    assert [str(each) for each in found] == ["no space", "1"]


def test_a_report_that_begins_more_is_waited_for_too() -> None:
    writer, found = BackgroundWriter(), []
    writer.begin(lambda: 1, lambda _: writer.begin(lambda: 2, lambda done: found.append(done.result())))
    writer.settle(wait=True)
    assert found == [2]


def test_a_report_that_raises_loses_no_other() -> None:
    writer, found = BackgroundWriter(), []

    def refuse(done: Future[Any]) -> None:
        raise TypeError("a bug")

    writer.begin(lambda: 1, refuse)
    writer.begin(lambda: 2, lambda done: found.append(done.result()))
    with pytest.raises(TypeError):
        writer.settle(wait=True)
    writer.settle(wait=True)
    assert found == [2]
