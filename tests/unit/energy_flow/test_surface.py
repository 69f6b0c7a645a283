"""Between embeddings and surface energies: sizes, bounds and the length of what is read off."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from energy_flow.config import EnergyConfig
from energy_flow.surface import SurfaceDecoder, SurfaceEncoder

CONFIG = EnergyConfig(lattice_width=4, lattice_height=6, embedding_dim=10)


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_energies_lie_between_minus_one_and_one_however_large_the_embedding(size: float) -> None:
    energy_BS = SurfaceEncoder(CONFIG)(size * torch.randn(5, 10))
    assert energy_BS.shape == (5, 24)
    assert energy_BS.abs().max() <= 1.0
    assert energy_BS.std() > 0.01


def test_an_embedding_is_read_off_the_surface() -> None:
    surface_BS = torch.rand(5, 24)
    embedding_BE = SurfaceDecoder(CONFIG)(surface_BS)
    assert embedding_BE.shape == (5, 10)
    assert not torch.allclose(embedding_BE[0], embedding_BE[1])


def test_more_numbers_a_cell_make_the_surface_as_many_times_as_wide() -> None:
    config = EnergyConfig(lattice_width=4, lattice_height=6, embedding_dim=10, embedding_part_dim=3)
    surface_BS = SurfaceEncoder(config)(torch.randn(5, 10))
    assert surface_BS.shape == (5, 72)
    assert SurfaceDecoder(config)(surface_BS).shape == (5, 10)


def test_a_fresh_decoder_answers_around_what_it_starts_at() -> None:
    decoder, mean = SurfaceDecoder(CONFIG), functional.normalize(torch.randn(10), dim=0)
    decoder.start_at(mean)
    answer = decoder(torch.randn(2000, 24)).mean(dim=0)
    assert functional.cosine_similarity(answer, mean, dim=0) > 0.95


def test_first_predictions_are_no_longer_than_the_unit_vectors_that_they_are_to_be() -> None:
    surface_BS = functional.normalize(torch.randn(64, 64), dim=1)
    assert SurfaceDecoder(EnergyConfig())(surface_BS).norm(dim=1).max() < 1.0
