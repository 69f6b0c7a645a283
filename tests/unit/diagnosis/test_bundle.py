"""The files that let a flagged step be run again elsewhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from support.exact import assert_same
from support.parts import BATCHES, Parts
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from supervisor.diagnosis.bundle import load_bundle_file, remove_bundle, write_bundle
from supervisor.records import Bundle
from supervisor.testing.tiny import with_nan
from supervisor.training.tree import clone, plain

ROOM = 2**30
BATCH_BYTES = 8 * 4 * 4 + 8 * 8


def written(folder: Path, parts: Parts, *batches: Any, room: int = ROOM) -> Bundle:
    return write_bundle(folder, parts.flagged(*batches), parts.subject, most_bytes=room)


def test_the_batches_come_back_bit_for_bit_and_in_order(tmp_path: Path) -> None:
    bundle = written(tmp_path, Parts.of(), BATCHES[0], with_nan(BATCHES[1]))
    assert bundle == Bundle("batch.pt", "state.pt")
    first, second = load_bundle_file(tmp_path / "batch.pt")
    assert_same(first, BATCHES[0])
    assert torch.equal(second[0].isnan(), with_nan(BATCHES[1])[0].isnan())


def test_the_state_is_the_one_from_before_the_step(tmp_path: Path) -> None:
    class Calls:
        def __init__(self) -> None:
            self.count = 0

        def state_dict(self) -> dict[str, int]:
            return {"count": self.count}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.count = state["count"]

    calls = Calls()
    parts = Parts.of(scaler=GradScaler("cpu", init_scale=8.0), extra={"calls": calls})
    parts.applied(BATCHES[0])
    parts.model.get_submodule("norm").eval()
    calls.count = 3
    before = {
        "parameters": clone({name: p.detach() for name, p in parts.model.named_parameters()}),
        "buffers": clone(dict(parts.model.named_buffers())),
    }
    attempt = parts.begun(with_nan(BATCHES[1]))
    calls.count = 4
    parts.executor.measured(attempt, parts.executor.compute(attempt.batches), None)
    parts.executor.undo(attempt)
    write_bundle(tmp_path, attempt, parts.subject, most_bytes=ROOM)
    state = load_bundle_file(tmp_path / "state.pt")
    assert (state["schema"], state["step"], state["update"], state["update_applied"]) == (1, 3, 5, False)
    assert_same({name: state[name] for name in before}, before)
    assert state["extra"] == {"calls": {"count": 3}}
    assert state["scaler"]["scale"] == 8.0
    assert state["training_modes"] == {"": True, "inner": True, "norm": False, "outer": True}
    assert_same(state["rng"], plain(attempt.before.rng))
    moments = state["optimizer"]["state"]["inner.weight"]
    assert torch.equal(
        moments["exp_avg"], parts.subject.optimizer.state[parts.model.get_parameter("inner.weight")]["exp_avg"]
    )


def test_an_update_that_reached_the_weights_says_so(tmp_path: Path) -> None:
    parts = Parts.of()
    attempt = parts.applied(BATCHES[0])
    attempt.undone = False
    assert write_bundle(tmp_path, attempt, parts.subject, most_bytes=ROOM).update_applied
    state = load_bundle_file(tmp_path / "state.pt")
    assert state["update_applied"] is True
    # The weights are those from after it; what a forward pass changes is from before it.
    assert torch.equal(state["parameters"]["inner.weight"], parts.model.get_parameter("inner.weight").detach())
    assert_same(state["buffers"], attempt.before.buffers)
    assert not torch.equal(state["buffers"]["norm.running_mean"], parts.model.get_buffer("norm.running_mean"))


class TestRoom:
    def test_what_does_not_fit_is_left_out_and_said(self, tmp_path: Path) -> None:
        bundle = written(tmp_path, Parts.of(), BATCHES[0], room=BATCH_BYTES)
        assert (bundle.batch, bundle.state) == ("batch.pt", None)
        assert "state.pt would take 0.0 MiB, more than the 0.0 MiB left for it" in str(bundle.note)
        assert [path.name for path in tmp_path.iterdir()] == ["batch.pt"]

    def test_a_batch_that_does_not_fit_leaves_its_room_to_the_state(self, tmp_path: Path) -> None:
        large = (torch.zeros(2**20, 4), torch.zeros(2**20, dtype=torch.int64))
        bundle = written(tmp_path, Parts.of(), large, room=2**20)
        assert (bundle.batch, bundle.state) == (None, "state.pt")
        assert bundle.note == "batch.pt would take 24.0 MiB, more than the 1.0 MiB left for it"

    def test_the_optimizers_state_comes_last(self, tmp_path: Path) -> None:
        parts = Parts.of()
        parts.applied(BATCHES[0])
        written(tmp_path, parts, BATCHES[0])
        state = load_bundle_file(tmp_path / "state.pt")
        moments = state.pop("optimizer")["state"]
        taken = BATCH_BYTES + sum(each.numel() * each.element_size() for each in tensors_of(state))
        learnt = sum(each.numel() * each.element_size() for each in tensors_of(moments))
        full = written(tmp_path, parts, BATCHES[0], room=taken + learnt)
        assert full.note is None
        bundle = written(tmp_path, parts, BATCHES[0], room=taken + learnt - 1)
        assert (bundle.batch, bundle.state) == ("batch.pt", "state.pt")
        assert "the optimizer's state would take" in str(bundle.note)
        assert "optimizer" not in load_bundle_file(tmp_path / "state.pt")

    def test_a_slice_is_written_without_the_rest(self, tmp_path: Path) -> None:
        x_BF = torch.zeros(2**20, 4)
        written(tmp_path, Parts.of(), (x_BF[:8], BATCHES[0][1]))
        assert (tmp_path / "batch.pt").stat().st_size < 100_000


def tensors_of(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    below = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
    return [tensor for value in below for tensor in tensors_of(value)]


class Pair(NamedTuple):
    x: Tensor
    y: Tensor


def test_containers_of_the_users_are_written_as_plain_ones(tmp_path: Path) -> None:
    parts = Parts.of()
    written(tmp_path, parts, Pair(*BATCHES[0]))
    (batch,) = load_bundle_file(tmp_path / "batch.pt")
    assert type(batch) is tuple
    assert torch.equal(batch[0], BATCHES[0][0])


def test_what_cannot_be_written_without_pickling_is_said_and_the_rest_is_written(tmp_path: Path) -> None:
    parts = Parts.of(loss=lambda batch: Parts.of().loss(batch["xy"]))
    bundle = written(tmp_path, parts, {"xy": BATCHES[0], "what": object()})
    assert (bundle.batch, bundle.state) == (None, "state.pt")
    assert "batch.pt.0.what: an object cannot stand in a checkpoint" in str(bundle.note)


def test_a_disk_that_refuses_is_said(tmp_path: Path) -> None:
    (tmp_path / "none").touch()
    bundle = written(tmp_path / "none", Parts.of(), BATCHES[0])
    assert (bundle.batch, bundle.state) == (None, None)
    assert "batch.pt: " in str(bundle.note)
    assert "state.pt: " in str(bundle.note)


def test_removing_leaves_the_record(tmp_path: Path) -> None:
    written(tmp_path, Parts.of(), BATCHES[0])
    (tmp_path / "incident.json").touch()
    remove_bundle(tmp_path)
    remove_bundle(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["incident.json"]


def test_nothing_pickled_is_executed(tmp_path: Path) -> None:
    torch.save([math.sqrt], tmp_path / "batch.pt")
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        load_bundle_file(tmp_path / "batch.pt")
