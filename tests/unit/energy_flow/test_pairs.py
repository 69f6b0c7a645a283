from __future__ import annotations

import itertools
from itertools import chain
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torchdata.stateful_dataloader import StatefulDataLoader

from energy_flow.pairs import BUNDLED_PAIRS, Batch, PairDataset, Pairs, PairsError, ShuffledBatches, load_pairs, loader
from energy_flow.split import BUNDLED, HoldOut


def numbered_loader(size: int, batch_size: int, seed: int) -> StatefulDataLoader[Batch]:
    rows = torch.arange(size, dtype=torch.float32).unsqueeze(1)
    return loader(PairDataset(rows, -rows), batch_size=batch_size, seed=seed)


def epoch(data: StatefulDataLoader[Batch]) -> list[list[float]]:
    return [question.flatten().tolist() for question, _ in data]


def test_an_epoch_hands_out_every_pair_once_and_the_next_in_another_order() -> None:
    data = numbered_loader(10, 4, seed=1)
    first, second = epoch(data), epoch(data)
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(10))
    assert first != second


def test_questions_stay_with_their_answers() -> None:
    for question, answer in numbered_loader(10, 4, seed=1):
        assert torch.equal(question, -answer)


def test_the_order_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = epoch(numbered_loader(50, 8, seed=3))
    torch.manual_seed(2)
    assert epoch(numbered_loader(50, 8, seed=3)) == first
    assert epoch(numbered_loader(50, 8, seed=4)) != first


def test_the_global_generator_is_never_drawn_from() -> None:
    before = torch.get_rng_state()
    data = numbered_loader(10, 4, seed=1)
    epoch(data)
    epoch(data)
    assert torch.equal(torch.get_rng_state(), before)


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 3), st.integers(0, 12))
def test_restoring_gives_the_same_batches_now_and_in_later_epochs(
    size: int, batch_size: int, epochs_before: int, batches_before: int
) -> None:
    unbroken = numbered_loader(size, batch_size, seed=5)
    for _ in range(epochs_before):
        epoch(unbroken)
    running = iter(unbroken)
    for _ in range(min(batches_before, len(unbroken))):
        next(running)
    state = unbroken.state_dict()
    rest = [question.flatten().tolist() for question, _ in running]
    following = [epoch(unbroken), epoch(unbroken)]

    restored = numbered_loader(size, batch_size, seed=5)
    next(iter(restored))
    restored.load_state_dict(state)
    assert epoch(restored) == rest
    assert [epoch(restored), epoch(restored)] == following


def test_the_state_is_plain_values(tmp_path: Path) -> None:
    data = numbered_loader(10, 4, seed=5)
    next(iter(data))
    torch.save(data.state_dict(), tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == data.state_dict()


def test_rows_are_addressable_by_index() -> None:
    rows = torch.arange(6.0).reshape(3, 2)
    dataset = PairDataset(rows, -rows)
    assert len(dataset) == 3
    assert dataset[1][0].tolist() == [2.0, 3.0]
    assert dataset[1][1].tolist() == [-2.0, -3.0]
    assert len(ShuffledBatches(3, 2, seed=0)) == 2


def write(path: Path, **tensors: torch.Tensor) -> Path:
    save_file(tensors, path)
    return path


def load(path: Path, **settings: object) -> object:
    return load_pairs(path, **{"embedding_dim": 4, "hold_out": HoldOut(3), "least_training_pairs": 5, **settings})


def test_pairs_are_split_by_position_and_have_unit_length(tmp_path: Path) -> None:
    questions, answers = torch.randn(10, 4).half(), torch.randn(10, 4).half()
    pairs = load_pairs(
        write(tmp_path / "mine.safetensors", questions=questions, answers=answers),
        embedding_dim=4, hold_out=HoldOut(3), least_training_pairs=5,
    )  # fmt: skip
    assert pairs.question_NE.shape == (7, 4)
    torch.testing.assert_close(pairs.validation[1], torch.nn.functional.normalize(answers[7:].float(), dim=1))
    torch.testing.assert_close(pairs.answer_NE.norm(dim=1), torch.ones(7))


GOOD = torch.ones(10, 4)
WITH_NAN = GOOD.clone()
WITH_NAN[6, 1] = torch.nan
WITH_ZEROS = GOOD.clone()
WITH_ZEROS[2] = 0.0


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"questions": GOOD}, "has no tensor 'answers'"),
        ({"questions": GOOD, "answers": GOOD[:9].clone()}, "10 questions but 9 answers"),
        ({"questions": torch.ones(10, 5), "answers": GOOD}, "write `embedding_dim: 5`"),
        ({"questions": torch.ones(40), "answers": GOOD}, "not floating point"),
        ({"questions": torch.ones(10, 4, dtype=torch.int64), "answers": GOOD}, "not floating point"),
        ({"questions": GOOD, "answers": WITH_NAN}, "'answers' holds NaN or infinity, first in row 6"),
        ({"questions": WITH_ZEROS, "answers": GOOD}, "'questions' row 2 is all zeros"),
        ({"questions": torch.ones(7, 4), "answers": torch.ones(7, 4)}, "7 pairs are too few: 8 are needed"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, tensors: dict[str, torch.Tensor], message: str) -> None:
    path = write(tmp_path / "mine.safetensors", **tensors)
    with pytest.raises(PairsError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_file_and_a_file_that_is_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(PairsError, match="no such file: write the path"):
        load(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("not tensors")
    with pytest.raises(PairsError, match="cannot be read as safetensors"):
        load(tmp_path / "text.safetensors")
    with pytest.raises(PairsError, match="cannot be read as safetensors"):
        load(tmp_path)


def test_the_bundled_pairs_are_as_their_note_says() -> None:
    assert BUNDLED_PAIRS.stat().st_size <= 8_000_000
    pairs = bundled()
    assert len(pairs.validation[0]) == len(pairs.test[0]) == 512
    note = (BUNDLED_PAIRS.parent / "LICENSE-DATA.md").read_text()
    assert "5120" in note
    assert f"{len(pairs.question_NE):,} pairs" in note


def test_no_bundled_pair_has_a_near_duplicate_in_another_part() -> None:
    pairs = bundled()
    sides = [torch.cat(part) for part in ((pairs.question_NE, pairs.answer_NE), pairs.validation, pairs.test)]
    for one, other in itertools.combinations(sides, 2):
        assert (one @ other.T).max().item() < 0.9


def bundled() -> Pairs:
    return load_pairs(BUNDLED_PAIRS, embedding_dim=384, hold_out=BUNDLED, least_training_pairs=1000)
