"""Why an update was flagged: the rows of the table of causes, tried in its order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from supervisor.diagnosis.probe import Probe
from supervisor.diagnosis.replay import DiagnosisFailed, Replays
from supervisor.diagnosis.sample_search import Blame, SampleSearch
from supervisor.diagnosis.trace import Origin, Trace
from supervisor.records import Cause, CauseKind, Observation, SignalName
from supervisor.training.modules import named_modules
from supervisor.update import Attempt

__all__ = ["Attribution"]

NOWHERE = Origin(None)


@dataclass(slots=True)
class Attribution:
    """Attributes one flagged update.

    Attributes:
        attempt: the update.
        batch_number: number of its last batch, None where it is not known.
        model: the model.
        replays: runs it again.
        is_healthy: whether an observation would not have been flagged.
    """

    attempt: Attempt
    batch_number: int | None
    model: nn.Module
    replays: Replays
    is_healthy: Callable[[Observation], bool]
    _modules: dict[str, nn.Module] = field(init=False)
    _trace: Trace = field(init=False)
    _samples: SampleSearch = field(init=False)

    def __post_init__(self) -> None:
        self._modules = dict(named_modules(self.model))
        self._trace = Trace(self.model)
        self._samples = SampleSearch(self.attempt, self.replays, self.is_healthy)

    def cause(self) -> Cause | None:
        """The first row that applies; None where none does.

        Raises:
            DiagnosisFailed: a replay did not go as the step did.
        """
        found = self._raised() or self._poisoned()
        if found is not None or not self.attempt.undone:
            return found
        # What most incidents come from is found with the least: a traced replay takes as long as many steps.
        probe = Probe(self.model) if "nan" in self._samples.flaws() else None
        first = self.replays.run(self.attempt.batches, probe)
        if probe is not None and probe.module is not None:
            return self._blamed(self._samples.by_value(), Origin(probe.module))
        self._must_not_raise(first)
        if self.is_healthy(first):
            return self._not_reproducible(first)
        first = self.replays.run(self.attempt.batches, self._trace)
        self._must_not_raise(first)
        # What the search does next must not push out the gradients that later rows look at.
        gradients = self.replays.gradients()
        blame = self._samples.to_blame()
        if blame is not None:
            return self._blamed(blame, self._surfaced())
        return self._forward(first) or self._backward(first, gradients) or self._large(gradients)

    def _must_not_raise(self, observation: Observation) -> None:
        if observation.exception is not None:
            raise DiagnosisFailed(f"a replay raised {observation.exception}")

    def _raised(self) -> Cause | None:
        raised = self.attempt.raised
        if raised is None:
            return None
        what = f"the step raised {self.attempt.seen.exception}"
        what += f" at {raised.where}" if raised.where else ""
        where = Origin(raised.module, where=raised.where)
        return self._cause(CauseKind.EXCEPTION, what, where, exception_type=raised.type)

    def _poisoned(self) -> Cause | None:
        seen = self.attempt.seen
        when = "before the step" if self.attempt.undone else "when the state was checked after the step"
        if seen.bad_optimizer_state:
            parameter, key = self._split(seen.bad_optimizer_state[0])
            what = (
                f"the optimizer's {key} of {parameter} was not finite {when}: restoring weights alone would not help, "
                "its next step would poison them again"
            )
            return self._at_parameter(CauseKind.POISONED_OPTIMIZER_STATE, what, parameter, state_key=key)
        if seen.bad_parameters:
            name = seen.bad_parameters[0]
            return self._at_parameter(CauseKind.POISONED_PARAMETER, f"{name} was not finite {when}", name)
        return None

    def _not_reproducible(self, first: Observation) -> Cause:
        loss = self.attempt.seen.loss
        if math.isfinite(loss) and loss == first.loss:
            same, why = True, "with the very loss it had: only its gradients went wrong, once, outside of the program"
        else:
            gradients = self.replays.gradients()
            second = self.replays.run(self.attempt.batches)
            same = _same_bits(first.loss, second.loss) and _same_tensors(gradients, self.replays.gradients())
            why = (
                "and two replays agree to the bit: the program is deterministic, and something outside of it went "
                "wrong once"
                if same
                else "and two replays differ: the program itself is not deterministic"
            )
        what = f"the same step, run again from the same state, is healthy, {why}"
        return self._cause(CauseKind.NOT_REPRODUCIBLE, what, deterministic=same)

    def _blamed(self, blame: Blame, surfaced: Origin) -> Cause:
        samples = blame.samples
        shown = ", ".join(str(sample) for sample in samples[:5]) + (" ..." if len(samples) > 5 else "")
        which = f"sample {shown} of the batch" if len(samples) == 1 else f"samples {shown} of the batch"
        what = f"{which}: {blame.why}" if samples else blame.why
        return self._cause(CauseKind.BAD_INPUT, what, surfaced, samples=samples)

    def _surfaced(self) -> Origin:
        """Where the traced replay first showed something bad."""
        module = self._trace.surfaced()
        origin = self._trace.forward_origin()
        if module is None:
            return self._trace.backward_origin() or origin or NOWHERE
        return Origin(module) if origin is None else Origin(module, origin.operation, origin.where)

    def _forward(self, first: Observation) -> Cause | None:
        origin = self._trace.forward_origin()
        if origin is not None:
            what = f"{self._named(origin.module)} makes values that are not finite out of finite ones{_at(origin)}"
            return self._cause(CauseKind.NONFINITE_ACTIVATION, what, origin)
        if not math.isfinite(first.loss):
            origin = self._trace.loss_origin()
            what = f"every module's output is finite and the loss is not{_at(origin)}"
            return self._cause(CauseKind.LOSS_FUNCTION, what, origin)
        if first.bad_buffers:
            name = first.bad_buffers[0]
            what = f"the forward pass puts a value that is not finite into {name}; loss and gradients stay finite"
            return self._at_parameter(CauseKind.NONFINITE_ACTIVATION, what, name)
        if self._only_replaced():
            origin = self._trace.first_source()
            what = "a value that is not finite was made and replaced inside the model"
            return None if origin is None else self._cause(CauseKind.NONFINITE_ACTIVATION, what + _at(origin), origin)
        return None

    def _backward(self, first: Observation, gradients: dict[str, Tensor]) -> Cause | None:
        if first.gradient_elements_finite:
            return None
        origin = self._trace.backward_origin()
        if origin is None:
            name = first.bad_gradients[0]
            what = f"the forward pass is finite and the gradient of {name} is not"
            return self._at_parameter(CauseKind.BACKWARD_ONLY, what, name)
        place = "the loss function" if origin.module is None else self._named(origin.module)
        what = f"the forward pass is finite and the gradient stops being so in {place}{_at(origin)}"
        return self._cause(CauseKind.BACKWARD_ONLY, what, origin)

    def _large(self, gradients: dict[str, Tensor]) -> Cause | None:
        if not gradients or self._only_replaced():
            return None
        # Double precision, in which the square of no float32 overflows.
        squares = {name: float(g.detach().double().square().sum()) for name, g in gradients.items()}
        name = max(squares, key=lambda each: squares[each])
        total = math.fsum(squares.values())
        share = f"{squares[name] / total:.0%} of the squared norm {math.sqrt(total):.3g}" if total > 0 else "most of it"
        what = f"everything is finite but far too large: {name} carries {share}"
        return self._at_parameter(CauseKind.GRADIENT_EXPLOSION, what, name)

    def _only_replaced(self) -> bool:
        return {signal.name for signal in self.attempt.signals} <= {SignalName.SANITIZED_VALUES}

    def _at_parameter(self, kind: CauseKind, what: str, name: str, **named: Any) -> Cause:
        return self._cause(kind, what, Origin(self._owner(name)), parameter=name, **named)

    def _cause(self, kind: CauseKind, what: str, origin: Origin = NOWHERE, **named: Any) -> Cause:
        seen = self.attempt.seen
        return Cause(
            kind=kind,
            explanation=what,
            step=seen.step,
            update=seen.update,
            batch_number=self.batch_number,
            module=origin.module,
            module_type=type(self._modules[origin.module]).__name__ if origin.module in self._modules else None,
            operation=origin.operation,
            where=origin.where,
            replays=self.replays.done,
            **named,
        )

    def _split(self, path: str) -> tuple[str, str]:
        """`parameter.state_key` into its two halves; parameters have dots in their names."""
        fitting = [name for name, _ in self.model.named_parameters() if path.startswith(f"{name}.")]
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
