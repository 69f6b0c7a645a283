"""Moving a training to its device: on the `meta` device, which every machine has."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam
from torch.overrides import TorchFunctionMode

from supervisor.errors import InputError
from supervisor.testing.tiny import TinyTrainer
from supervisor.training.device import batch_to, choose_device, devices_of, optimizer_to, placed
from supervisor.training.optimizers import chained

META = torch.device("meta")


class TestChoosing:
    @pytest.mark.parametrize(("there", "chosen"), [(True, "cuda"), (False, "cpu")])
    def test_auto_is_cuda_where_there_is_a_device(
        self, there: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
        assert choose_device("auto") == torch.device(chosen)
        assert choose_device("cpu") == torch.device("cpu")

    def test_cuda_is_refused_where_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(InputError, match="no CUDA device: write `device: auto` or `device: cpu`"):
            choose_device("cuda")


class Pair(NamedTuple):
    x: Tensor
    y: Any


def test_every_tensor_of_a_batch_is_moved_and_nothing_else_changes() -> None:
    x = torch.ones(2)
    batch = {"pair": Pair(x, [x, "text"]), "tuple": (x, 3), "none": None}
    moved = batch_to(batch, META)
    assert type(moved["pair"]) is Pair
    assert moved["pair"].x.is_meta
    assert moved["pair"].y[0].is_meta
    assert moved["pair"].y[1] == "text"
    assert moved["tuple"][0].is_meta
    assert (moved["tuple"][1], moved["none"]) == (3, None)
    assert batch["pair"].x is x


def stepped(optimizer: Any, trainer: TinyTrainer) -> None:
    trainer.loss(trainer.data[0]).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


class ToMeta(TorchFunctionMode):
    """No tensor of an optimizer can really go to `meta`: one that is asked to is doubled instead."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return 2 * args[0] if func is Tensor.to and args[1:] == (META,) else func(*args, **(kwargs or {}))


def moved(optimizer: Any) -> set[str]:
    """The keys of the state under which tensors were moved; each is the very tensor that it was."""
    held = [(key, value, value.clone()) for state in optimizer.state.values() for key, value in state.items()]
    with ToMeta():
        optimizer_to(optimizer, META)
    # A captured graph may hold their addresses.
    now = [value for state in optimizer.state.values() for value in state.values()]
    assert all(one is other for (_, one, _), other in zip(held, now, strict=True))
    return {key for key, value, before in held if not torch.equal(value, before)}


def test_moments_are_moved_and_step_counters_stay() -> None:
    trainer = TinyTrainer()
    stepped(trainer.optimizer, trainer)
    assert moved(trainer.optimizer) == {"exp_avg", "exp_avg_sq"}


def test_several_optimizers_are_moved_as_one() -> None:
    trainer = TinyTrainer()
    both = chained([Adam(trainer.model.inner.parameters()), SGD(trainer.model.outer.parameters(), momentum=0.9)])
    stepped(both, trainer)
    assert moved(both) == {"exp_avg", "exp_avg_sq", "momentum_buffer"}


class TestPlacing:
    BATCH: ClassVar[dict[str, Any]] = {"x": torch.ones(2), "of": [torch.zeros(1), "text"]}

    def test_the_devices_of_a_batch_are_told_each_once(self) -> None:
        assert devices_of(self.BATCH) == {"cpu"}
        assert devices_of({**self.BATCH, "y": torch.ones(1, device="meta")}) == {"cpu", "meta"}
        assert devices_of(["text", 3]) == set()

    def test_a_batch_that_is_where_it_was_drawn_stays_the_very_object(self) -> None:
        assert placed(self.BATCH, ["cpu"]) is self.BATCH
        assert placed("text", []) == "text"

    def test_one_that_is_elsewhere_is_moved_there(self) -> None:
        moved_there = placed(self.BATCH, ["meta"])
        assert devices_of(moved_there) == {"meta"}
        assert moved_there["of"][1] == "text"

    def test_where_its_device_is_missing_it_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert placed(self.BATCH, ["cuda:0"]) is self.BATCH
