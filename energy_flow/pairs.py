"""Question-and-answer pairs: read, checked, split, and handed out in batches that can be resumed exactly.

Shape suffixes: N pairs, B batch, E embedding elements.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchdata.stateful_dataloader import StatefulDataLoader

from energy_flow.split import HoldOut, split_rows

__all__ = [
    "BUNDLED_PAIRS",
    "Batch",
    "PairDataset",
    "Pairs",
    "PairsError",
    "ShuffledBatches",
    "load_pairs",
    "loader",
    "stable_seed",
]

BUNDLED_PAIRS = Path(__file__).parent / "data" / "pairs.safetensors"
"""5,120 pairs of small talk; `data/LICENSE-DATA.md` says where they come from and how they are split."""

Batch = tuple[Tensor, Tensor]
"""Questions [B, E] and answers [B, E], float32 unit vectors."""


class PairsError(ValueError):
    """The file of pairs cannot be used; the message names it."""


@dataclass(frozen=True)
class Pairs:
    """Pairs [N, E] as float32 unit vectors, split as `energy_flow.split` says.

    Attributes:
        question_NE: questions to train on.
        answer_NE: their answers.
        validation: questions and answers on which choices are made.
        test: those for the last measurement; may be empty.
    """

    question_NE: Tensor
    answer_NE: Tensor
    validation: Batch
    test: Batch


def load_pairs(path: Path, *, embedding_dim: int, hold_out: HoldOut, least_training_pairs: int) -> Pairs:
    """Read a safetensors file with the floating-point tensors `questions` [N, E] and `answers` [N, E].

    Every row is scaled to unit length.

    Args:
        path: the file.
        embedding_dim: E that the model expects.
        hold_out: what to hold out.
        least_training_pairs: how many must be left to train on.

    Raises:
        PairsError: the file is missing, is no safetensors file, lacks a tensor, has other shapes or dtypes,
            holds non-finite values or all-zero rows, or too few pairs.
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise PairsError(f"{path}: no such file: write the path of a safetensors file") from None
    except (OSError, SafetensorError) as error:
        raise PairsError(f"{path}: cannot be read as safetensors ({error})") from error
    columns = []
    for name in ("questions", "answers"):
        if name not in tensors:
            raise PairsError(f"{path}: has no tensor {name!r}, only {sorted(tensors)}")
        columns.append(_unit_rows(path, name, tensors[name], embedding_dim))
    question, answer = columns
    if len(question) != len(answer):
        raise PairsError(f"{path}: {len(question)} questions but {len(answer)} answers")
    split = split_rows(question, answer, hold_out)
    if len(split.training) < least_training_pairs:
        held = hold_out.validation + hold_out.test + hold_out.gap
        raise PairsError(
            f"{path}: {len(question)} pairs are too few: {held + least_training_pairs} are needed, to hold out {held} "
            f"and train on {least_training_pairs} or more"
        )
    training, validation, test = (
        (question[rows], answer[rows]) for rows in (split.training, split.validation, split.test)
    )
    return Pairs(*training, validation, test)


def _unit_rows(path: Path, name: str, rows: Tensor, embedding_dim: int) -> Tensor:
    if not rows.is_floating_point() or rows.dim() != 2:
        raise PairsError(f"{path}: {name!r} is {rows.dtype} {list(rows.shape)}, not floating point [pairs, elements]")
    if rows.shape[1] != embedding_dim:
        raise PairsError(
            f"{path}: {name!r} has {rows.shape[1]} elements a row, the model {embedding_dim}: "
            f"write `embedding_dim: {rows.shape[1]}`"
        )
    rows = rows.double()
    finite = rows.isfinite().all(dim=1)
    if not finite.all():
        raise PairsError(f"{path}: {name!r} holds NaN or infinity, first in row {int((~finite).int().argmax())}")
    length = rows.norm(dim=1, keepdim=True)
    if (length == 0).any():
        raise PairsError(f"{path}: {name!r} row {int((length == 0).int().argmax())} is all zeros and has no direction")
    unit: Tensor = rows / length
    return unit.float()


def stable_seed(*parts: object) -> int:
    """A seed in [0, 2**63) that depends on the parts' text alone, the same in every process."""
    return random.Random("/".join(map(str, parts))).getrandbits(63)


class PairDataset(Dataset[Batch]):
    """The training pairs by index."""

    def __init__(self, question_NE: Tensor, answer_NE: Tensor) -> None:
        self.question_NE = question_NE
        self.answer_NE = answer_NE

    def __len__(self) -> int:
        return len(self.question_NE)

    def __getitem__(self, index: int) -> Batch:
        """One pair: question [E] and answer [E]."""
        return self.question_NE[index], self.answer_NE[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A whole batch with one indexing, which a data loader prefers over one call a pair."""
        rows = torch.tensor(indices)
        return self.question_NE[rows], self.answer_NE[rows]


class ShuffledBatches(Sampler[list[int]]):
    """Batches of indices in an order that depends on the seed and the epoch alone.

    torchdata's own random sampler draws each order from a generator that the data loader draws from too, and
    restores it only for the epoch it was saved in: the epoch after a restore is shuffled otherwise than in
    the unbroken run. Here nothing is drawn that would have to be restored.

    Args:
        size: pairs in the data set.
        batch_size: indices a batch; the last one of an epoch may be smaller.
        seed: of all orders.
    """

    def __init__(self, size: int, batch_size: int, seed: int) -> None:
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.next_epoch = 0

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Start the next epoch."""
        iterator = _EpochIterator(self, self.next_epoch)
        self.next_epoch += 1
        return iterator

    def order(self, epoch: int) -> Tensor:
        """The order [size] of an epoch."""
        generator = torch.Generator().manual_seed(stable_seed("epoch", self.seed, epoch))
        return torch.randperm(self.size, generator=generator)


class _EpochIterator(Iterator[list[int]]):
    """One epoch; what `StatefulDataLoader` saves and restores."""

    def __init__(self, sampler: ShuffledBatches, epoch: int) -> None:
        self.sampler = sampler
        self._start(epoch, 0)

    def _start(self, epoch: int, batch: int) -> None:
        self.epoch, self.batch = epoch, batch
        self.batches = torch.split(self.sampler.order(epoch), self.sampler.batch_size)

    def __next__(self) -> list[int]:
        if self.batch == len(self.batches):
            raise StopIteration
        self.batch += 1
        indices: list[int] = self.batches[self.batch - 1].tolist()
        return indices

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._start(state["epoch"], state["batch"])
        self.sampler.next_epoch = self.epoch + 1


def loader(dataset: PairDataset, *, batch_size: int, seed: int) -> StatefulDataLoader[Batch]:
    """Shuffled batches that resume exactly, in the middle of an epoch and into the next ones.

    Each epoch is one pass over the loader. Nothing is drawn from the global generator.
    """
    with warnings.catch_warnings():
        # torchdata calls a function that newer versions of torch call deprecated; no user can mend that.
        warnings.filterwarnings("ignore", message=".*set_vital.*")
        return StatefulDataLoader(
            dataset,
            batch_sampler=ShuffledBatches(len(dataset), batch_size, seed),
            collate_fn=_as_it_is,
            generator=torch.Generator().manual_seed(seed),
        )


def _as_it_is(batch: Batch) -> Batch:
    return batch
