"""What bounds a training step of EnergyFlow on a CPU: the calls, the matrix products, or what stands between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Bound", "profiled"]

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::linear", "aten::mkldnn_linear")

SMALL_CALL = 50e-6
"""Mean seconds of a call up to which a step counts as bound by the calls themselves."""


class Bound(NamedTuple):
    """Where the time of one step goes.

    Attributes:
        calls: operators called.
        seconds: time in them.
        products: share of the time in matrix products.
        flops: floating-point operations of these products in a second.
    """

    calls: int
    seconds: float
    products: float
    flops: float

    def __str__(self) -> str:
        """One line for a table."""
        told = f"{self.products:.0%} of the time in matrix products, at {self.flops / 1e9:.0f} GFLOP/s"
        if self.products >= 0.5:
            return f"matrix products: {told}"
        if self.seconds / self.calls <= SMALL_CALL:
            mean = self.seconds / self.calls * 1e6
            return f"many small calls: {self.calls:,} a step of {mean:.0f} µs each; {told}"
        return f"element-wise work on the flows: {told}"


def profiled(one_pass: Callable[[], None], repeats: int) -> Bound:
    """Profile some passes, which must have been warmed up."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as profiler:
        for _ in range(repeats):
            one_pass()
    events: list[Any] = [event for event in profiler.key_averages() if event.key.startswith("aten::")]
    seconds = sum(event.self_cpu_time_total for event in events) * 1e-6
    products = sum(event.self_cpu_time_total for event in events if event.key in PRODUCTS) * 1e-6
    flops = sum(event.flops for event in events if event.key in PRODUCTS)
    calls = sum(event.count for event in events if event.self_cpu_time_total > event.count)
    return Bound(calls // repeats, seconds / repeats, products / seconds, flops / products)
