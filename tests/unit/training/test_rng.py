"""Every global generator is taken and put back exactly."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from supervisor.training.rng import (
    capture_rng,
    generator_states,
    preserved_rng,
    restore_generators,
    restore_rng,
    seed_everything,
)
from supervisor.training.tree import clone, plain


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    with preserved_rng():
        yield


def draw() -> tuple[Any, ...]:
    """From each generator, normal variates too: they keep a second one in reserve."""
    return (
        random.random(),
        random.gauss(0, 1),
        np.random.rand(3).tolist(),
        np.random.standard_normal(),
        torch.rand(3).tolist(),
        torch.randn(3).tolist(),
    )


@pytest.mark.parametrize("before", range(3))
def test_what_follows_is_the_same_again(before: int) -> None:
    seed_everything(11)
    for _ in range(before):
        draw()
    state = capture_rng()
    expected = [draw() for _ in range(3)]
    for _ in range(2):
        restore_rng(state)
        assert [draw() for _ in range(3)] == expected


def test_a_normal_variate_in_reserve_is_kept() -> None:
    seed_everything(5)
    random.gauss(0, 1)
    np.random.standard_normal()
    state = capture_rng()
    expected = draw()
    seed_everything(6)
    restore_rng(state)
    assert draw() == expected


MOVES: list[Callable[[], object]] = [
    lambda: None,
    random.random,
    lambda: random.gauss(0, 1),
    lambda: random.shuffle([1, 2, 3]),
    lambda: random.seed(4),
    np.random.rand,
    np.random.standard_normal,
    lambda: np.random.standard_normal(3),
    lambda: np.random.bytes(1),
    lambda: np.random.seed(4),
    lambda: restore_rng(capture_rng()),
]


@given(st.lists(st.lists(st.sampled_from(range(len(MOVES))), max_size=5), min_size=1, max_size=8))
# Each of these pairs leaves a generator where it was, save for the normal variate that it keeps in reserve.
@example([[9, 6, 6], [9, 6]])
@example([[9, 6], [9, 6, 6]])
@example([[4, 2, 2], [4, 2]])
def test_what_the_generators_tell_is_taken_whatever_moved_them(moves: list[list[int]]) -> None:
    for between in moves:
        for move in between:
            MOVES[move]()
        state = capture_rng()
        version, internal, gauss = state["python"]
        assert (version, tuple(internal.tolist()), gauss) == random.getstate()
        kind, keys, *rest = state["numpy"]
        told_kind, told_keys, *told_rest = np.random.get_state(legacy=True)
        assert (kind, rest) == (told_kind, told_rest)
        assert keys.tolist() == told_keys.tolist()


def test_the_state_survives_a_checkpoint(tmp_path: Any) -> None:
    seed_everything(3)
    random.gauss(0, 1)
    state = capture_rng()
    expected = draw()
    torch.save(plain(clone(state)), tmp_path / "rng.pt")
    restore_rng(torch.load(tmp_path / "rng.pt", weights_only=True))
    assert draw() == expected


def test_lists_do_as_well_as_tuples() -> None:
    state = capture_rng()
    expected = draw()
    version, internal, gauss = state["python"]
    restore_rng({**state, "python": [version, internal, gauss], "numpy": list(state["numpy"])})
    assert draw() == expected


def test_the_captured_state_does_not_move_on() -> None:
    seed_everything(1)
    state = capture_rng()
    before = clone(state)
    draw()
    assert torch.equal(state["torch"], before["torch"])
    assert torch.equal(state["numpy"][1], before["numpy"][1])
    assert torch.equal(state["python"][1], before["python"][1])


def test_what_is_drawn_inside_does_not_show_outside() -> None:
    seed_everything(2)
    expected = draw()
    seed_everything(2)
    with preserved_rng():
        draw()
        torch.manual_seed(99)
    assert draw() == expected


def test_not_even_when_it_raises() -> None:
    seed_everything(2)
    expected = draw()
    seed_everything(2)

    def raising() -> None:
        with preserved_rng():
            draw()
            raise KeyError

    with pytest.raises(KeyError):
        raising()
    assert draw() == expected


@pytest.mark.parametrize("seed", [0, 7, 2**32 + 7, 2**40])
def test_a_seed_makes_all_generators_repeatable(seed: int) -> None:
    seed_everything(seed)
    expected = draw()
    seed_everything(seed)
    assert draw() == expected
    seed_everything(seed + 1)
    other = draw()
    assert all(a != b for a, b in zip(other, expected, strict=True))


def told() -> tuple[Any, ...]:
    """What Python and NumPy themselves tell."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return random.getstate(), (kind, keys.tolist(), *rest)


def captured() -> tuple[Any, ...]:
    state = capture_rng()
    version, internal, gauss = state["python"]
    kind, keys, *rest = state["numpy"]
    return (version, tuple(internal.tolist()), gauss), (kind, keys.tolist(), *rest)


class TestMovesThatNoDrawMakes:
    """A state is told again only where the bytes of its generator differ from those seen last."""

    @pytest.fixture(autouse=True)
    def _bit_generator(self) -> Iterator[None]:
        own = np.random.get_bit_generator()
        seed_everything(3)
        captured()
        yield
        np.random.set_bit_generator(own)

    def test_numpys_bit_generator_is_replaced(self) -> None:
        own = np.random.get_bit_generator()
        other = np.random.MT19937(77)
        np.random.set_bit_generator(other)
        assert captured() == told()
        np.random.rand()
        assert captured() == told()
        np.random.set_bit_generator(own)
        assert captured() == told()

    def test_numpys_bit_generator_is_set_from_outside(self) -> None:
        own = np.random.get_bit_generator()
        before = captured()
        own.state = np.random.MT19937(77).state
        assert captured() == told() != before

    def test_it_is_moved_by_a_generator_that_shares_it(self) -> None:
        before = captured()
        np.random.Generator(np.random.get_bit_generator()).random()
        assert captured() == told() != before

    def test_pythons_is_moved_by_setstate(self) -> None:
        before = random.getstate()
        random.random()
        moved = captured()
        random.setstate(before)
        assert captured() == told() != moved
        assert captured()[0] == before

    def test_a_normal_number_in_reserve_alone_is_a_move(self) -> None:
        version, internal, _ = random.getstate()
        for gauss in (0.25, None, 0.5):
            random.setstate((version, internal, gauss))
            assert captured()[0] == (version, internal, gauss)
        kind, keys, position, *_ = np.random.get_state(legacy=True)
        for has, gauss in ((1, 0.25), (0, 0.0), (1, 0.5)):
            np.random.set_state((kind, keys, position, has, gauss))
            assert captured()[1][3:] == (has, gauss)

    def test_a_position_alone_is_a_move(self) -> None:
        kind, keys, *_ = np.random.get_state(legacy=True)
        for position in (1, 2):
            np.random.set_state((kind, keys, position, 0, 0.0))
            assert captured()[1][2] == position

    def test_what_has_not_moved_is_told_once(self) -> None:
        """Which is what makes it cheap."""
        first, second = capture_rng(), capture_rng()
        assert first["python"][1] is second["python"][1]
        assert first["numpy"] is second["numpy"]


class TestGeneratorsOfALoader:
    ITEMS = TensorDataset(torch.arange(6))

    def test_those_of_the_loader_and_its_samplers_each_once(self) -> None:
        own, of_sampler = torch.Generator(), torch.Generator()
        shared = DataLoader(self.ITEMS, 2, shuffle=True, generator=own)
        assert shared.sampler.generator is own
        assert len(generator_states(shared)) == 1
        sampler = RandomSampler(self.ITEMS, generator=of_sampler)
        assert len(generator_states(DataLoader(self.ITEMS, 2, sampler=sampler, generator=own))) == 2
        batched = DataLoader(self.ITEMS, batch_sampler=BatchSampler(sampler, 2, drop_last=False))
        assert len(generator_states(batched)) == 1

    def test_where_there_are_none_there_is_nothing_to_put_back(self) -> None:
        for loader in ([1, 2], DataLoader(self.ITEMS, 2, shuffle=True)):
            assert generator_states(loader) == []
            restore_generators(loader, [])

    def test_put_back_they_give_the_same_again(self) -> None:
        sampler = RandomSampler(self.ITEMS, generator=torch.Generator().manual_seed(1))
        loader = DataLoader(self.ITEMS, 2, sampler=sampler, generator=torch.Generator().manual_seed(2))
        states = generator_states(loader)
        before = [state.clone() for state in states]
        expected = [batch[0].tolist() for batch in loader]
        moved = generator_states(loader)
        assert not any(map(torch.equal, moved, before))
        for _ in range(2):
            restore_generators(loader, states)
            assert all(map(torch.equal, generator_states(loader), before))
            assert [batch[0].tolist() for batch in loader] == expected


@pytest.mark.parametrize("kind", ["PCG64", "Philox", "SFC64"])
def test_another_generator_of_numpys_is_put_back_too(kind: str) -> None:
    before = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(getattr(np.random, kind)(7))
        np.random.standard_normal()
        state = plain(clone(capture_rng()))
        expected = draw()
        draw()
        restore_rng(state)
        assert draw() == expected
    finally:
        np.random.set_bit_generator(before)
