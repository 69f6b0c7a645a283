from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from energy_flow.spawning import choose_parents


@given(
    st.integers(1, 4),
    st.integers(1, 12),
    st.integers(1, 6),
    st.lists(st.integers(0, 2**16), min_size=1, max_size=6),
)
def test_a_sample_never_spawns_more_than_the_cap(batch: int, cells: int, capacity: int, seeds: list[int]) -> None:
    capacity = min(capacity, cells)
    slots = cells + capacity
    spawned = torch.zeros(batch, dtype=torch.int64)
    used = torch.zeros(batch, slots, dtype=torch.bool)
    alive = torch.arange(slots).expand(batch, slots) < cells
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        movement = torch.rand(batch, slots, generator=generator)
        eligible = (torch.rand(batch, slots, generator=generator) < 0.4) & alive
        source, born = choose_parents(movement, eligible, spawned, capacity)

        assert not (born & used).any(), "a slot was filled twice"
        assert not born[:, :cells].any(), "a flow of the surface was overwritten"
        assert eligible.gather(1, source)[born].all(), "a flow spawned that was not eligible"
        assert (source == torch.arange(slots))[~born].all(), "a flow that was not born goes on from another one"
        expected = torch.minimum(eligible.sum(dim=1), capacity - spawned)
        assert born.sum(dim=1).tolist() == expected.tolist()
        spawned, used, alive = spawned + born.sum(dim=1), used | born, alive | born
    assert (spawned <= capacity).all()


def test_the_farthest_movers_spawn_first() -> None:
    movement = torch.tensor([[0.1, 0.9, 0.5, 0.7, 0.0, 0.0]])
    eligible = torch.tensor([[True, True, True, False, False, False]])
    source, born = choose_parents(movement, eligible, torch.zeros(1, dtype=torch.int64), capacity=2)
    assert source.tolist() == [[0, 1, 2, 3, 1, 2]]
    assert born.tolist() == [[False, False, False, False, True, True]]
