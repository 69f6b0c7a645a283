"""Two rules by which clipping follows the gradients: AdaGC and ZClip, on norms alone.

They are pure and stay on the device. A norm that is not finite changes no history, since one NaN in it would stay
for ever, and its gradient is left as it is: to see such gradients, and to drop their update, is the guard's.

Shape suffixes: P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["AdaGC", "ZClip"]


@dataclass(frozen=True, slots=True)
class AdaGC:
    """Each tensor's gradient is held to its own smoothed past norm.

    "AdaGC: Improving Training Stability for Large Language Model Pretraining", Wang et al. 2025, arXiv:2502.11034.
    While it warms up, all gradients together are clipped to `warmup_norm`, and the smallest clipped norm of each
    tensor is kept: s = min(s, ‖ĝ‖). From then on ĝ = g · min(1, relative_bound · s / ‖g‖), and
    s = smoothing · s + (1 - smoothing) · ‖ĝ‖.

    Two departures. A norm of zero is not counted, since a tensor whose s is 0 would be clipped to 0 for ever. The
    updates are counted tensor by tensor, so that one that is drawn afresh warms up by itself.

    Attributes:
        relative_bound: λ_rel.
        smoothing: β, the share of the past in s.
        warmup_updates: T_start.
        warmup_norm: λ_abs.
    """

    relative_bound: float = 1.05
    smoothing: float = 0.98
    warmup_updates: int = 100
    warmup_norm: float = 1.0

    def fresh(self, device: torch.device) -> Tensor:
        """The history [2] of a tensor before its first update: s, and the updates counted."""
        return torch.zeros(2, device=device)

    def scales(self, norm_P: Tensor, history_P2: Tensor) -> tuple[Tensor, Tensor]:
        """What to multiply each gradient with [P], and the histories after it [P, 2].

        Args:
            norm_P: L2 norm of each gradient, float32.
            history_P2: s and the updates counted.
        """
        smoothed_P, updates_P = history_P2.unbind(1)
        finite_P = norm_P.isfinite()
        known_P = norm_P.where(finite_P, 0.0)
        tiny = torch.finfo(norm_P.dtype).tiny
        together = (self.warmup_norm / torch.linalg.vector_norm(known_P).clamp(min=tiny)).clamp(max=1.0)
        alone_P = (self.relative_bound * smoothed_P / known_P.clamp(min=tiny)).clamp(max=1.0)
        warm_P = updates_P < self.warmup_updates
        scale_P = torch.where(warm_P, together, alone_P).where(finite_P, 1.0)
        clipped_P = known_P * scale_P
        smallest_P = torch.minimum(smoothed_P.where(updates_P > 0, torch.inf), clipped_P)
        next_P = torch.where(warm_P, smallest_P, smoothed_P.lerp(clipped_P, 1.0 - self.smoothing))
        # What is clipped to next to nothing may underflow.
        counted_P = finite_P & (clipped_P > 0)
        return scale_P, torch.stack((next_P.where(counted_P, smoothed_P), updates_P + counted_P), dim=1)


@dataclass(frozen=True, slots=True)
class ZClip:
    """All gradients together are scaled down when their total norm lies far above its own past.

    "ZClip: Adaptive Spike Mitigation for LLM Pre-Training", Kumar et al. 2025, arXiv:2504.02507. Mean μ and variance
    σ² of the norm begin with those of the first `warmup_updates`, which are not clipped. From then on
    z = (‖g‖ - μ) / σ; beyond the threshold the norm becomes μ + σ · threshold² / z ("reciprocal clipping": the
    farther out, the nearer to the mean). μ and σ² follow the clipped norm by `smoothing`.

    One departure. While σ is 0 nothing is clipped: norms that were all alike, as one is, or those of gradients that
    were all zero, would hold every later one to μ for ever.

    Attributes:
        threshold: of z.
        smoothing: α, the share of the past in μ and σ².
        warmup_updates: N_w.
        epsilon: added to σ.
    """

    threshold: float = 2.5
    smoothing: float = 0.97
    warmup_updates: int = 25
    epsilon: float = 1e-6

    def fresh(self, device: torch.device) -> Tensor:
        """The history [3] before the first update: the updates counted, μ and σ²."""
        return torch.zeros(3, device=device)

    def scale(self, norm: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """What to multiply all gradients with, 0-dimensional, and the history after it [3].

        Args:
            norm: L2 norm of all gradients, 0-dimensional, float32.
            history: the updates counted, μ and σ² [3].
        """
        updates, mean, variance = history.unbind()
        finite, warm = norm.isfinite(), updates < self.warmup_updates
        known = norm.where(finite, mean)
        deviation = variance.sqrt()
        z = (known - mean) / (deviation + self.epsilon)
        bounded = mean + deviation * self.threshold**2 / z.clamp(min=self.threshold)
        clips = finite & ~warm & (deviation > 0) & (z > self.threshold)
        followed = torch.where(clips, bounded, known)
        # While it warms up each norm has the same weight (Welford's sums), later the newest has 1 - smoothing.
        weight = torch.where(warm, 1.0 / (updates + 1.0), 1.0 - self.smoothing)
        next_mean = mean + weight * (followed - mean)
        distance = torch.where(warm, followed - mean, followed - next_mean)
        next_variance = variance + weight * (distance * (followed - next_mean) - variance)
        after = torch.stack(((updates + 1.0).clamp(max=self.warmup_updates), next_mean, next_variance))
        scale = torch.where(clips, bounded / known.clamp(min=torch.finfo(norm.dtype).tiny), 1.0)
        # The square of a finite norm may not be.
        return scale, after.where(finite & after.isfinite().all(), history)
