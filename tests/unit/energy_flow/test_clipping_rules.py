"""AdaGC and ZClip by their published formulas, and what no sequence of norms can do to them."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from energy_flow.clipping_rules import AdaGC, ZClip

CPU = torch.device("cpu")
NORMS = st.floats(0.0, 2.0**127, width=32, allow_subnormal=False)
ANY_NORMS = NORMS | st.sampled_from([math.nan, math.inf])


def adagc(rule: AdaGC, rows: list[list[float]]) -> tuple[list[list[float]], Tensor]:
    """Scales of each update, and the history after the last."""
    history, scales = torch.stack([rule.fresh(CPU)] * len(rows[0])), []
    for row in rows:
        scale, history = rule.scales(torch.tensor(row), history)
        scales.append(scale.tolist())
    return scales, history


def zclip(rule: ZClip, norms: list[float]) -> tuple[list[float], Tensor]:
    """Scale of each update, and the history after the last."""
    history, scales = rule.fresh(CPU), []
    for norm in norms:
        scale, history = rule.scale(torch.tensor(norm), history)
        scales.append(scale.item())
    return scales, history


def test_adagc_is_what_its_paper_says() -> None:
    rule = AdaGC(relative_bound=1.05, smoothing=0.98, warmup_updates=2, warmup_norm=1.0)
    scales, history = adagc(rule, [[3.0, 4.0], [0.3, 0.4], [0.3, 4.0], [0.3, 0.3]])
    # Warm-up: both together to 1, then within it; the smallest clipped norms are 0.3 and 0.4.
    assert scales[0] == pytest.approx([0.2, 0.2])
    assert scales[1] == [1.0, 1.0]
    # Then each by itself: the second to 1.05 × 0.4.
    assert scales[2] == pytest.approx([1.0, 0.105])
    assert scales[3] == [1.0, 1.0]
    second = 0.98 * (0.98 * 0.4 + 0.02 * 0.42) + 0.02 * 0.3
    assert history[:, 0].tolist() == pytest.approx([0.3, second])
    assert history[:, 1].tolist() == [4.0, 4.0]


def test_a_tensor_without_a_history_warms_up_beside_others_that_have_one() -> None:
    rule = AdaGC(warmup_updates=2)
    _, history = adagc(rule, [[0.1, 0.1]] * 4)
    history[1] = rule.fresh(CPU)
    scale, history = rule.scales(torch.tensor([0.1, 0.6]), history)
    assert scale.tolist() == [1.0, 1.0]
    assert history[1].tolist() == pytest.approx([0.6, 1.0])


def test_a_gradient_of_zero_does_not_silence_a_tensor_for_ever() -> None:
    scales, history = adagc(AdaGC(warmup_updates=2), [[0.2], [0.0], [0.2], [0.0], [0.2]])
    assert scales[-1] == [1.0]
    assert history[0].tolist() == pytest.approx([0.2, 3.0])


@given(st.lists(st.lists(ANY_NORMS, min_size=3, max_size=3), min_size=1, max_size=20), st.integers(1, 6))
def test_adagc_never_takes_in_what_is_not_finite_and_never_enlarges(rows: list[list[float]], warmup: int) -> None:
    rule = AdaGC(warmup_updates=warmup)
    history = torch.stack([rule.fresh(CPU)] * 3)
    for row in rows:
        before, norm = history, torch.tensor(row)
        scale, history = rule.scales(norm, history)
        assert history.isfinite().all()
        assert ((scale >= 0) & (scale <= 1)).all()
        wrong = ~norm.isfinite()
        assert (scale[wrong] == 1).all(), "it is left as it is, for whoever looks"
        assert torch.equal(history[wrong], before[wrong])
        bounded = (before[:, 1] >= warmup) & ~wrong
        assert (norm * scale <= 1.05 * before[:, 0] * (1 + 1e-5))[bounded].all()


def test_zclip_is_what_its_paper_says() -> None:
    rule, warm = ZClip(threshold=2.5, smoothing=0.97, warmup_updates=4), [1.0, 1.2, 0.8, 1.4]
    scales, history = zclip(rule, warm)
    assert scales == [1.0] * 4
    mean, variance = statistics.fmean(warm), statistics.pvariance(warm)
    assert history.tolist() == pytest.approx([4.0, mean, variance])

    scales, history = zclip(rule, [*warm, 1.3])
    mean = 0.97 * mean + 0.03 * 1.3
    variance = 0.97 * variance + 0.03 * (1.3 - mean) ** 2
    assert scales[-1] == 1.0
    assert history.tolist() == pytest.approx([4.0, mean, variance])

    scales, history = zclip(rule, [*warm, 1.3, 9.0])
    z = (9.0 - mean) / (math.sqrt(variance) + 1e-6)
    clipped = mean + math.sqrt(variance) * 2.5**2 / z
    assert z > 2.5
    assert scales[-1] == pytest.approx(clipped / 9.0, rel=1e-4)
    mean = 0.97 * mean + 0.03 * clipped
    assert history.tolist() == pytest.approx([4.0, mean, 0.97 * variance + 0.03 * (clipped - mean) ** 2], rel=1e-4)


def test_the_farther_out_a_norm_the_nearer_to_the_mean_it_is_clipped() -> None:
    warm = [1.0, 1.2, 0.8, 1.4]
    clipped = [norm * zclip(ZClip(warmup_updates=4), [*warm, norm])[0][-1] for norm in (2.0, 4.0, 40.0)]
    assert clipped == sorted(clipped, reverse=True)
    assert clipped[-1] == pytest.approx(1.1, rel=0.05)


@pytest.mark.parametrize("warm", [[0.0], [0.0] * 4, [2.0], [2.0] * 4])
def test_norms_without_any_spread_hold_no_later_one(warm: list[float]) -> None:
    """As those of a model that gets no gradient at first, or the only one of a warm-up of one update."""
    later = [2.0 + 0.1 * (-1) ** number for number in range(200)]
    scales, history = zclip(ZClip(warmup_updates=len(warm)), [*warm, *later])
    assert scales[len(warm)] == 1.0
    assert scales[-20:] == [1.0] * 20
    assert history[1].item() == pytest.approx(2.0, rel=0.05)


@given(st.lists(ANY_NORMS, min_size=1, max_size=40), st.integers(1, 10))
def test_zclip_never_takes_in_what_is_not_finite_and_never_enlarges(norms: list[float], warmup: int) -> None:
    rule = ZClip(warmup_updates=warmup)
    history = rule.fresh(CPU)
    for norm in norms:
        before = history
        scale, history = rule.scale(torch.tensor(norm), history)
        assert history.isfinite().all()
        assert history[2] >= 0
        assert 0 <= scale.item() <= 1
        if not math.isfinite(norm):
            assert scale.item() == 1
            assert torch.equal(history, before)
        if before[0] < warmup:
            assert scale.item() == 1
