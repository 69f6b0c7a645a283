"""How many updates are left until a weight or the gradients pass a bound, if they go on as they do."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from supervisor.headroom import Forecast, Headroom, Quantity
from supervisor.policy import HeadroomWatch
from supervisor.records import Observation

__all__ = ["HeadroomDetector"]

STRETCHES = 8
"""Into how many stretches the window is cut; values are kept at their ends."""

STEADY = 0.5
"""Share of the newer half's slope that each of its stretches must have: where a jump is in it, the others have less."""

EBBING = 0.7
"""A growth whose newer half has less than this share of the slope of the older half ebbs away by itself."""

LEAST_ENERGY = 4.0
"""Below so many times the second moments the gradients may vary by chance."""

AWAY = 2.0
"""A growth that was told of has ended once its bound is so many times the longest horizon away."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one check found."""

    update: int
    norms: Mapping[str, float]
    largest: Mapping[str, float]
    energy: float | None


class HeadroomDetector:
    """Follows weights and gradients from check to check, and tells once of each growth that leads past a bound soon.

    Weights grow by a share of themselves where something feeds their growth, so that the logarithm is what is
    continued: a line through the window, at the slope of its newer half. A growth that ebbs (a norm in a healthy
    training grows like a root of the time) and a jump are not continued.

    Of the gradients one check tells the growth: where they grow by a share `s` an update, their squared norm is
    1 + 2·s·m times the second moments that average over `m` updates. The median of a few checks is taken for it.

    Args:
        policy: the horizon, the bounds and the window.
    """

    def __init__(self, policy: HeadroomWatch) -> None:
        self._policy = policy
        self._spacing = max(1, policy.window_updates // STRETCHES)
        self._entries: deque[_Entry] = deque(maxlen=STRETCHES + 1)
        self._first_step: int | None = None
        self._began: dict[str, int] = {}
        self._standing: set[tuple[Quantity, str]] = set()
        self._told: dict[tuple[Quantity, str], int] = {}

    def due(self, update: int) -> bool:
        """Whether a check after this update would be kept: they are not looked at more closely than is of use."""
        return not self._entries or update - self._entries[-1].update >= self._spacing

    def accept(self, observation: Observation) -> tuple[Forecast, ...]:
        """Take in the check of a healthy update, and give what is to be told: of each quantity at most one forecast."""
        seen, norms = observation.headroom, observation.weight_norms
        if seen is None or norms is None:
            return ()
        if self._first_step is None:
            self._first_step = observation.step
        entries = self._entries
        if not self.due(observation.update):
            return ()
        entries.append(_Entry(observation.update, dict(norms), dict(seen.largest), seen.energy))
        self._note_beginners(observation.step)
        if len(entries) <= STRETCHES or observation.step - self._first_step < self._policy.warmup_updates:
            return ()
        return tuple(self._new(list(self._forecasts(observation, seen)), observation.update))

    def restored(self) -> None:
        """Drop the checks: they are no measure for the weights of the older state that was put back."""
        self._entries.clear()

    def forget(self) -> None:
        """Begin anew: the weights were redrawn. What was told of them is not told again at once."""
        self._entries.clear()
        self._standing.clear()
        self._first_step = None
        self._began.clear()

    def state_dict(self) -> dict[str, Any]:
        """The checks kept, and what was told, as plain values."""
        return {
            "entries": [[each.update, dict(each.norms), dict(each.largest), each.energy] for each in self._entries],
            "first_step": self._first_step,
            "began": dict(self._began),
            "standing": sorted([quantity.value, name] for quantity, name in self._standing),
            "told": [[quantity.value, name, update] for (quantity, name), update in self._told.items()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave. What was told since, of a state that was left, stays told."""
        entries = (
            _Entry(update, dict(norms), dict(largest), energy) for update, norms, largest, energy in state["entries"]
        )
        self._entries = deque(entries, maxlen=STRETCHES + 1)
        self._first_step = state["first_step"]
        # Checkpoints of an earlier version have none.
        self._began = dict(state.get("began", {}))
        self._standing = {(Quantity(quantity), name) for quantity, name in state["standing"]}
        told = {(Quantity(quantity), name): update for quantity, name, update in state["told"]}
        self._told = {**told, **{key: update for key, update in self._told.items() if update > told.get(key, -1)}}

    def _note_beginners(self, step: int) -> None:
        """Note which weights stood still until this check, or are new in it: they grow as at a training's start."""
        if len(self._entries) < 2:
            return
        before, now = self._entries[-2], self._entries[-1]
        for name, value in now.largest.items():
            was = before.largest.get(name)
            if was is None or (was == value and before.norms.get(name) == now.norms.get(name)):
                self._began[name] = step

    def _forecasts(self, observation: Observation, seen: Headroom) -> Iterator[Forecast]:
        """Whatever is near a bound, also what was told of before; where nothing grows, no logarithm is taken."""
        oldest, now = self._entries[0], self._entries[-1]
        policy, span = self._policy, now.update - oldest.update
        reach = AWAY * policy.horizon_updates
        least = math.exp(math.log(policy.factor) * span / (reach + span))
        for quantity, before, after in (
            (Quantity.WEIGHT_NORM, oldest.norms, now.norms),
            (Quantity.LARGEST_WEIGHT, oldest.largest, now.largest),
        ):
            # A bias that wanders about zero may grow tenfold, and be as little as the others still.
            usual = statistics.median(before.values()) if before and quantity is Quantity.LARGEST_WEIGHT else 0.0
            for name, value in after.items():
                base = before.get(name, 0.0)
                if value > least * base > 0 and policy.factor * base > usual:
                    yield from self._continued(observation.step, quantity, name, policy.factor * base)
        for name, limit in seen.limits.items():
            value, base = now.largest.get(name, 0.0), oldest.largest.get(name, 0.0)
            # By logarithms: the power itself may be too large for a float.
            if value > base > 0 and math.log(limit) - math.log(value) < math.log(value / base) * 2 * reach / span:
                yield from self._continued(observation.step, Quantity.HALF_RANGE, name, limit)
        yield from self._of_gradients(observation, seen)

    def _continued(self, step: int, quantity: Quantity, name: str, bound: float) -> Iterator[Forecast]:
        """The line through a weight's logarithm, where it can be continued and comes near the bound."""
        entries, began = self._entries, self._began.get(name)
        if math.isinf(bound) or (began is not None and step - began < self._policy.warmup_updates):
            return
        values = [(each.norms if quantity is Quantity.WEIGHT_NORM else each.largest).get(name, 0.0) for each in entries]
        if min(values) <= 0:
            return
        heights = [math.log(value) for value in values]
        at = [each.update for each in entries]
        middle = len(at) // 2
        older = (heights[middle] - heights[0]) / (at[middle] - at[0])
        slope = (heights[-1] - heights[middle]) / (at[-1] - at[middle])
        steps = range(middle, len(at) - 1)
        slowest = min((heights[i + 1] - heights[i]) / (at[i + 1] - at[i]) for i in steps)
        if slope <= 0 or slowest < STEADY * slope or slope < EBBING * older:
            return
        horizon = max(0, round((math.log(bound) - heights[-1]) / slope))
        if horizon <= AWAY * self._policy.horizon_updates:
            bits = math.log2(bound / values[-1]) if quantity is Quantity.HALF_RANGE else None
            yield Forecast(quantity, name, values[-1], bound, slope, horizon, bits=bits)

    def _of_gradients(self, observation: Observation, seen: Headroom) -> Iterator[Forecast]:
        energies = [each.energy for each in [*self._entries][-(STRETCHES // 2 + 1) :] if each.energy is not None]
        if seen.energy_at is None or seen.memory_updates is None or len(energies) <= STRETCHES // 2:
            return
        energy = statistics.median(energies)
        # While gradients grow the moments stay behind; after a jump they catch up, check by check.
        since = energies[energies.index(max(energies)) :]
        catches_up = len(since) > 2 and all(one > next_one for one, next_one in itertools.pairwise(since))
        if energy < LEAST_ENERGY or catches_up:
            return
        slope = (energy - 1) / (2 * seen.memory_updates)
        horizon = round(math.log(self._policy.factor) / slope)
        if horizon <= AWAY * self._policy.horizon_updates:
            norm = observation.grad_norm
            yield Forecast(Quantity.GRADIENT_NORM, seen.energy_at, norm, self._policy.factor * norm, slope, horizon)

    def _new(self, found: list[Forecast], update: int) -> Iterator[Forecast]:
        """Of each quantity the forecast that is soonest, where one is within the horizon and was not told."""
        near = [each for each in found if each.horizon <= self._policy.horizon_updates]
        # The one that is told of names the parameter; it need not be the gradient's each time.
        before, self._standing = self._standing, {_key(each) for each in found} & self._standing
        for quantity in Quantity:
            fresh = [each for each in near if each.quantity is quantity and _key(each) not in before]
            fresh = [each for each in fresh if update - self._told.get(_key(each), -math.inf) >= self._repeat]
            if quantity is Quantity.LARGEST_WEIGHT:
                norms = {name for told, name in self._standing if told is Quantity.WEIGHT_NORM}
                fresh = [each for each in fresh if each.parameter not in norms]
            if not fresh:
                continue
            for each in fresh:
                self._standing.add(_key(each))
                self._told[_key(each)] = update
            soonest = min(fresh, key=lambda each: each.horizon)
            yield replace(soonest, others=len(fresh) - 1)

    @property
    def _repeat(self) -> int:
        return self._policy.repeat_after_updates


def _key(forecast: Forecast) -> tuple[Quantity, str]:
    """What was told of is known by: gradients by the quantity alone, as each check may name another parameter."""
    whole = forecast.quantity is Quantity.GRADIENT_NORM
    return forecast.quantity, "" if whole else forecast.parameter
