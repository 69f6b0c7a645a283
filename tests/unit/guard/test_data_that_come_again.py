"""A resume says that the data do not come again, and nothing where they do: each kind of loader, cut anywhere."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.exact import assert_same
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from supervisor import Guard
from supervisor.events import read_events
from supervisor.training.rng import seed_everything

ROWS, BATCH, STEPS = 24, 4, 16
"""Six batches an epoch, and nearly three epochs."""
X = torch.arange(float(ROWS * 3)).reshape(ROWS, 3) / 72
POLICY: dict[str, Any] = {
    "checkpoint": {"every_steps": 4, "keep": 9},
    "snapshot": {"keep": 0},
    "probation_steps": 2,
    "experiments": None,
    "detect": {"spike": None},
}

Make = Callable[[], Any]


class Augmented(Dataset[Tensor]):
    """Rows with noise on them, from the generators that everybody draws from."""

    def __getitem__(self, index: int) -> Tensor:
        return X[index] + torch.rand(3) * 0.1 + random.random() * 0.1 + float(np.random.rand()) * 0.1

    def __len__(self) -> int:
        return ROWS


class OwnNoise(Augmented):
    """The noise is from a generator of its own."""

    def __init__(self) -> None:
        self.noise = np.random.default_rng(0)

    def __getitem__(self, index: int) -> Tensor:
        return X[index] + float(self.noise.random()) * 0.1


class OwnChance(Sampler[int]):
    """Shuffles by a generator of its own."""

    def __init__(self) -> None:
        self.chance = random.Random(0)

    def __iter__(self) -> Iterator[int]:
        return iter(self.chance.sample(range(ROWS), ROWS))

    def __len__(self) -> int:
        return ROWS


class KeptChance(OwnChance):
    """Shuffles by a generator that the supervisor knows."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(5)

    def __iter__(self) -> Iterator[int]:
        return iter(torch.randperm(ROWS, generator=self.generator).tolist())


class SaidChance(OwnChance):
    """The same, and it tells how its generator stood as the epoch began, and how many rows it has given since."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.given = self.chance.getstate(), 0

    def __iter__(self) -> Iterator[int]:
        self.began, already = self.chance.getstate(), self.given
        order = self.chance.sample(range(ROWS), ROWS)
        for row in order[already:]:
            self.given += 1
            yield row
        self.given = 0

    def state_dict(self) -> dict[str, Any]:
        return {"began": self.began, "given": self.given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        version, internal, gauss = state["began"]
        self.chance.setstate((version, tuple(internal), gauss))
        self.given = state["given"]


class Counting:
    """A loader that shuffles by the number of the epoch."""

    def __init__(self) -> None:
        self.epoch = 0

    def __len__(self) -> int:
        return ROWS // BATCH

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(self.epoch))
        self.epoch += 1
        return iter(X[order].split(BATCH))


class CountingAndSaying(Counting):
    """The same, and it tells where it stands."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 0

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(self.epoch))
        for batch in X[order].split(BATCH)[self.done :]:
            self.done += 1
            yield batch
        self.epoch, self.done = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.done = state["epoch"], state["done"]


class Endless:
    """Never ends, and begins alike each time."""

    def __iter__(self) -> Iterator[Tensor]:
        chance = torch.Generator().manual_seed(3)
        while True:
            yield torch.rand(BATCH, 3, generator=chance)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


PLAIN = TensorDataset(X)

COMING_AGAIN: dict[str, Make] = {
    "list": lambda: list(X.split(BATCH)),
    "in order": lambda: DataLoader(Augmented(), BATCH),
    "shuffled": lambda: DataLoader(PLAIN, BATCH, shuffle=True),
    "shuffled by its generator": lambda: DataLoader(PLAIN, BATCH, shuffle=True, generator=generator()),
    "augmented": lambda: DataLoader(Augmented(), BATCH, shuffle=True),
    "two workers": lambda: DataLoader(PLAIN, BATCH, shuffle=True, num_workers=2, generator=generator()),
    "augmented in two workers": lambda: DataLoader(Augmented(), BATCH, shuffle=True, num_workers=2),
    "stateful": lambda: StatefulDataLoader(PLAIN, BATCH, shuffle=True),
    "stateful, two workers": lambda: StatefulDataLoader(PLAIN, BATCH, shuffle=True, num_workers=2),
    "its sampler keeps a generator": lambda: DataLoader(PLAIN, BATCH, sampler=KeptChance()),
    "stateful, with a sampler that tells its own": lambda: StatefulDataLoader(PLAIN, BATCH, sampler=SaidChance()),
    "counts its epochs and tells them": CountingAndSaying,
    "endless": Endless,
}

LOST: dict[str, tuple[Make, str]] = {
    "counts its epochs": (Counting, r"test_data_that_come_again\.Counting, which counts its epochs itself \(`epoch`\)"),
    "its sampler's own generator": (
        lambda: DataLoader(PLAIN, BATCH, sampler=OwnChance()),
        r"test_data_that_come_again\.OwnChance, which draws from its own `chance` \(random\.Random\)",
    ),
    "the same in two workers": (
        lambda: DataLoader(PLAIN, BATCH, sampler=OwnChance(), num_workers=2),
        r"test_data_that_come_again\.OwnChance, which draws from its own `chance` \(random\.Random\)",
    ),
    "its data set's own generator": (
        lambda: DataLoader(OwnNoise(), BATCH, generator=generator()),
        r"the rows are the same, their values are not: .*OwnNoise, which draws from its own `noise`",
    ),
    "a generator": (
        lambda: (torch.rand(BATCH, 3) for _ in range(99)),
        "generator: give it state_dict and load_state_dict",
    ),
}


def guard_in(folder: Path, make: Make, *, resume: bool = False) -> Guard:
    """As in a process of its own."""
    seed_everything(3)
    data = make()
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.3), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def loss(batch: Any) -> Tensor:
        return model(batch[0] if isinstance(batch, (list, tuple)) else batch).square().mean()

    return Guard(
        model=model, optimizer=optimizer, loss=loss, data=data, policy=POLICY, run_dir=folder, resume=resume, quiet=True
    )


def warnings(folder: Path) -> list[str]:
    """What is said of the data; a busy machine may be slow at a step."""
    told = [event.message for event in read_events(folder) if event.event == "warning"]
    return [message for message in told if message.startswith("data:")]


def cut(folder: Path, make: Make, steps: int, *, killed: bool) -> None:
    """A run that is asked to stop after so many steps, or killed."""
    guard = guard_in(folder, make)
    for batch in guard.batches(STEPS):
        guard.step(batch)
        if guard.steps_done == steps:
            if killed:
                # The next batch is drawn, and that is all.
                continue
            guard.request_stop()
        if guard.steps_done == steps + 1:
            break
    if not killed:
        assert guard.status == "interrupted"
        guard.note_next_batch()
    guard.close()


def end_of(folder: Path) -> Any:
    tree = torch.load(folder / "checkpoints" / f"step-{STEPS:08d}" / "state.pt", weights_only=True)
    return {"training": tree["moment"]["training"], "batches": tree["moment"]["data"]["batch_number"]}


def forking(names: Iterable[str]) -> list[Any]:
    """Processes of a loader's are begun anew for each epoch, which takes its time: what has them is for long runs."""
    return [pytest.param(name, marks=pytest.mark.slow if "workers" in name else ()) for name in names]


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("name", forking(COMING_AGAIN))
def test_data_that_come_again_are_never_said_to_be_lost(tmp_path: Path, name: str, killed: bool) -> None:
    make = COMING_AGAIN[name]
    whole = guard_in(tmp_path / "whole", make)
    whole.run(STEPS)
    # In the middle of an epoch, at its end, and in a later one.
    for steps in (4, 6, 14):
        folder = tmp_path / str(steps)
        cut(folder, make, steps, killed=killed)
        assert (folder / "next_batches.json").is_file()
        guard = guard_in(folder, make, resume=True)
        guard.run(STEPS)
        assert warnings(folder) == [], f"cut at {steps}"
        assert_same(end_of(folder), end_of(tmp_path / "whole"))


@pytest.mark.parametrize("name", forking(LOST))
def test_data_that_do_not_come_again_are_said_once_with_what_to_make_stateful(tmp_path: Path, name: str) -> None:
    make, said = LOST[name]
    cut(tmp_path, make, 14, killed=False)
    assert warnings(tmp_path) == []
    guard_in(tmp_path, make, resume=True).run(STEPS)
    (message,) = warnings(tmp_path)
    assert re.search(said, message), message


def test_with_two_loader_processes_that_augment(tmp_path: Path) -> None:
    make = COMING_AGAIN["augmented in two workers"]
    cut(tmp_path, make, 8, killed=False)
    guard_in(tmp_path, make, resume=True).run(STEPS)
    assert warnings(tmp_path) == []


def test_within_the_first_epoch_an_order_comes_again_by_itself(tmp_path: Path) -> None:
    """A new process counts its epochs from 0 too."""
    cut(tmp_path, Counting, 4, killed=False)
    guard_in(tmp_path, Counting, resume=True).run(STEPS)
    assert warnings(tmp_path) == []


def test_a_healthy_run_draws_what_it_would_draw_without(tmp_path: Path) -> None:
    """Nothing is drawn ahead while it runs."""
    drawn: list[int] = []

    class Heard(Counting):
        def __iter__(self) -> Iterator[Tensor]:
            for number, batch in enumerate(super().__iter__()):
                drawn.append(number)
                yield batch

    guard = guard_in(tmp_path / "run", Heard)
    guard.run(5)
    assert drawn == [*range(5)]
    guard.note_next_batch()
    assert drawn == [*range(6)]
    guard.note_next_batch()
    assert drawn == [*range(6)]


def test_data_that_raise_at_the_end_end_nothing(tmp_path: Path) -> None:
    class Short(Counting):
        def __iter__(self) -> Iterator[Tensor]:
            yield from list(super().__iter__())[:5]
            raise RuntimeError("the disk is gone")

    guard = guard_in(tmp_path / "run", Short)
    assert guard.run(5).status == "finished"
    guard.note_next_batch()
