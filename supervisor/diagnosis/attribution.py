"""Why an update was flagged: the rows of the table of causes, tried in its order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from supervisor.diagnosis.flagged import FlaggedUpdate
from supervisor.diagnosis.flaws import flaws
from supervisor.diagnosis.replay import DiagnosisFailed, Replays
from supervisor.diagnosis.search import at_most, find_culprits
from supervisor.diagnosis.trace import Origin, Trace
from supervisor.records import Cause, CauseKind, Observation, SignalName
from supervisor.training.samples import bad_samples, keep_samples, sample_count, values_replaced
from supervisor.training.tree import tensors

__all__ = ["Attribution"]

RESERVED = 2
"""Replays that the search for samples leaves for what follows it."""


class _CannotLeaveOut(Exception):
    """The step raises when samples are left out, as one that expects a batch of a certain size."""


class Attribution:
    """Attributes one flagged update.

    Args:
        flagged: the update.
        model: the model.
        replays: runs it again.
        is_healthy: whether an observation would not have been flagged.
    """

    def __init__(
        self,
        flagged: FlaggedUpdate,
        model: nn.Module,
        replays: Replays,
        is_healthy: Callable[[Observation], bool],
    ) -> None:
        self._flagged = flagged
        self._replays = replays
        self._is_healthy = is_healthy
        self._model = model
        self._modules = dict(model.named_modules())
        self._trace = Trace(model)

    def cause(self) -> Cause | None:
        """The first row that applies; None where none does.

        Raises:
            DiagnosisFailed: a replay did not go as the step did.
        """
        found = self._raised() or self._poisoned()
        if found is not None or not self._flagged.undone:
            return found
        first = self._replays.run(self._flagged.batches, self._trace)
        if first.exception is not None:
            raise DiagnosisFailed(f"a replay raised {first.exception}")
        if self._is_healthy(first):
            return self._not_reproducible(first)
        # What the search does next must not push out the gradients that later rows look at.
        gradients = self._replays.gradients()
        return self._bad_input() or self._forward(first) or self._backward(first, gradients) or self._large(gradients)

    def _raised(self) -> Cause | None:
        raised = self._flagged.raised
        if raised is None:
            return None
        what = f"the step raised {self._flagged.observation.exception}"
        what += f" at {raised.where}" if raised.where else ""
        return self._cause(
            CauseKind.EXCEPTION, what, module=raised.module, where=raised.where, exception_type=raised.type
        )

    def _poisoned(self) -> Cause | None:
        seen = self._flagged.observation
        when = "before the step" if self._flagged.undone else "when the state was checked after the step"
        if seen.bad_optimizer_state:
            parameter, key = self._split(seen.bad_optimizer_state[0])
            what = (
                f"the optimizer's {key} of {parameter} was not finite {when}: restoring weights alone would not help, "
                "its next step would poison them again"
            )
            owner = self._owner(parameter)
            return self._cause(
                CauseKind.POISONED_OPTIMIZER_STATE, what, module=owner, parameter=parameter, state_key=key
            )
        if seen.bad_parameters:
            name = seen.bad_parameters[0]
            return self._cause(
                CauseKind.POISONED_PARAMETER, f"{name} was not finite {when}", module=self._owner(name), parameter=name
            )
        return None

    def _not_reproducible(self, first: Observation) -> Cause:
        gradients = self._replays.gradients()
        second = self._replays.run(self._flagged.batches)
        same = _same_bits(first.loss, second.loss) and _same_tensors(gradients, self._replays.gradients())
        what = "the same step, run again from the same state, is healthy: " + (
            "two replays agree to the bit, so the program is deterministic and something outside of it went wrong once"
            if same
            else "two replays differ, so the program itself is not deterministic"
        )
        return self._cause(CauseKind.NOT_REPRODUCIBLE, what, deterministic=same)

    def _bad_input(self) -> Cause | None:
        counts = [sample_count(batch) for batch in self._flagged.batches]
        sizes = [count for count in counts if count is not None]
        if len(sizes) < len(counts):
            return self._bad_values(None)
        total = sum(sizes)
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        by_value = tuple(
            start + position
            for start, batch in zip(starts, self._flagged.batches, strict=True)
            for position in bad_samples(batch)
        )

        def healthy(positions: Sequence[int]) -> bool:
            kept = [
                keep_samples(batch, here)
                for batch, start, size in zip(self._flagged.batches, starts, sizes, strict=True)
                if (here := [p - start for p in positions if start <= p < start + size])
            ]
            return bool(kept) and self._much_better(self._replays.run(kept))

        rest = [position for position in range(total) if position not in set(by_value)]
        try:
            if by_value and rest and healthy(rest):
                return self._blamed(by_value, "not all of its values are finite")
            if len(by_value) > at_most(total):
                found = self._bad_values(by_value)
                if found is not None:
                    return found
            culprits = find_culprits(total, healthy, most_tests=self._replays.left - RESERVED) if total > 1 else ()
        except _CannotLeaveOut:
            return self._bad_values(by_value)
        if not culprits:
            return None
        why = "without them the step is healthy" if len(culprits) > 1 else "without it the step is healthy"
        return self._blamed(culprits, f"{why}, though their values are finite" if not by_value else why)

    def _bad_values(self, samples: tuple[int, ...] | None) -> Cause | None:
        """Too many samples hold bad values to be left out: are the values at fault, or are they as usual?"""
        held = flaws(tensor for batch in self._flagged.batches for _, tensor in tensors(batch))
        if not held:
            return None
        if "nan" not in held:
            mended = self._replays.run([values_replaced(batch) for batch in self._flagged.batches])
            if mended.exception is not None or not self._is_healthy(mended):
                # Infinities that change nothing, as in a mask.
                return None
        return self._blamed(samples or (), "the batch itself holds values that are not finite")

    def _blamed(self, samples: tuple[int, ...], why: str) -> Cause:
        shown = ", ".join(str(sample) for sample in samples[:5]) + (" ..." if len(samples) > 5 else "")
        which = f"sample {shown} of the batch" if len(samples) == 1 else f"samples {shown} of the batch"
        surfaced = self._trace.surfaced()
        origin = self._trace.forward_origin() or Origin(surfaced)
        if surfaced is None:
            origin = self._trace.backward_origin() or origin
        what = f"{which}: {why}" if samples else why
        return self._cause(
            CauseKind.BAD_INPUT,
            what,
            module=origin.module if surfaced is None else surfaced,
            operation=origin.operation,
            where=origin.where,
            samples=samples,
        )

    def _forward(self, first: Observation) -> Cause | None:
        origin = self._trace.forward_origin()
        if origin is not None:
            what = f"{self._named(origin.module)} makes values that are not finite out of finite ones{_at(origin)}"
            return self._located(CauseKind.NONFINITE_ACTIVATION, what, origin)
        if not math.isfinite(first.loss):
            origin = self._trace.loss_origin()
            what = f"every module's output is finite and the loss is not{_at(origin)}"
            return self._located(CauseKind.LOSS_FUNCTION, what, origin)
        if first.bad_buffers:
            name = first.bad_buffers[0]
            what = f"the forward pass puts a value that is not finite into {name}; loss and gradients stay finite"
            return self._cause(CauseKind.NONFINITE_ACTIVATION, what, module=self._owner(name), parameter=name)
        if self._only_replaced():
            origin = self._trace.first_source()
            what = "a value that is not finite was made and replaced inside the model"
            return None if origin is None else self._located(CauseKind.NONFINITE_ACTIVATION, what + _at(origin), origin)
        return None

    def _backward(self, first: Observation, gradients: dict[str, Tensor]) -> Cause | None:
        if first.gradient_elements_finite:
            return None
        origin = self._trace.backward_origin()
        if origin is None:
            name = first.bad_gradients[0]
            what = f"the forward pass is finite and the gradient of {name} is not"
            return self._cause(CauseKind.BACKWARD_ONLY, what, module=self._owner(name), parameter=name)
        place = "the loss function" if origin.module is None else self._named(origin.module)
        what = f"the forward pass is finite and the gradient stops being so in {place}{_at(origin)}"
        return self._located(CauseKind.BACKWARD_ONLY, what, origin)

    def _large(self, gradients: dict[str, Tensor]) -> Cause | None:
        if not gradients or self._only_replaced():
            return None
        # Double precision, in which the square of no float32 overflows.
        squares = {name: float(g.detach().double().square().sum()) for name, g in gradients.items()}
        name = max(squares, key=lambda each: squares[each])
        total = math.fsum(squares.values())
        share = f"{squares[name] / total:.0%} of the squared norm {math.sqrt(total):.3g}" if total > 0 else "most of it"
        what = f"everything is finite but far too large: {name} carries {share}"
        return self._cause(CauseKind.GRADIENT_EXPLOSION, what, module=self._owner(name), parameter=name)

    def _much_better(self, observation: Observation) -> bool:
        """Healthy, and where a value was merely too large, at least half-way back to the typical one.

        Otherwise whatever lies just beyond a threshold would be blamed on its largest samples.
        """
        if observation.exception is not None:
            raise _CannotLeaveOut
        if not self._is_healthy(observation):
            return False
        for signal in self._flagged.signals:
            for quantity, value in (("loss", observation.loss), ("grad_norm", observation.grad_norm)):
                worst, typical = signal.details.get(quantity), signal.details.get("median")
                if isinstance(worst, float) and isinstance(typical, float) and value * value > worst * typical:
                    return False
        return True

    def _only_replaced(self) -> bool:
        return {signal.name for signal in self._flagged.signals} <= {SignalName.SANITIZED_VALUES}

    def _located(self, kind: CauseKind, what: str, origin: Origin) -> Cause:
        return self._cause(kind, what, module=origin.module, operation=origin.operation, where=origin.where)

    def _cause(self, kind: CauseKind, explanation: str, *, module: str | None = None, **named: Any) -> Cause:
        seen = self._flagged.observation
        return Cause(
            kind=kind,
            explanation=explanation,
            step=seen.step,
            update=seen.update,
            batch_number=self._flagged.batch_number,
            module=module,
            module_type=type(self._modules[module]).__name__ if module in self._modules else None,
            replays=self._replays.done,
            **named,
        )

    def _split(self, path: str) -> tuple[str, str]:
        """`parameter.state_key` into its two halves; parameters have dots in their names."""
        fitting = [name for name, _ in self._model.named_parameters() if path.startswith(f"{name}.")]
        parameter = max(fitting, key=len, default=path.rpartition(".")[0])
        return parameter, path[len(parameter) + 1 :]

    def _owner(self, name: str) -> str | None:
        owner = name.rpartition(".")[0]
        return owner if owner in self._modules else None

    def _named(self, module: str | None) -> str:
        kind = type(self._modules[module]).__name__ if module in self._modules else ""
        return f"{module} ({kind})" if module else f"the model itself ({kind})"


def _at(origin: Origin) -> str:
    what = f", in {origin.operation}" if origin.operation else ""
    return what + (f" at {origin.where}" if origin.where else "")


def _same_bits(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _same_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
