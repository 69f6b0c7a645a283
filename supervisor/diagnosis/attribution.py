"""Why an update was flagged: the rows of the table of causes, tried in its order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from supervisor.diagnosis import wording
from supervisor.diagnosis.poisoned import stepper_of, when_it_went_bad
from supervisor.diagnosis.probe import Probe
from supervisor.diagnosis.repeating import Repeating
from supervisor.diagnosis.replay import DiagnosisFailed, Replays
from supervisor.diagnosis.sample_search import Blame, SampleSearch
from supervisor.diagnosis.trace import Origin, Trace
from supervisor.records import Cause, CauseKind, Observation, SignalName
from supervisor.training.modules import named_modules
from supervisor.training.samples import unreadable
from supervisor.update import Attempt, Raised

__all__ = ["Attribution"]

NOWHERE = Origin(None)


@dataclass(slots=True)
class Attribution:
    """Attributes one flagged update.

    Attributes:
        attempt: the update.
        batch_number: number of its last batch, None where it is not known.
        replays: runs it again.
        is_healthy: whether an observation would not have been flagged.
        finite_before: whether the state was checked after the step before and was finite; None: not known.
        brief: skip what takes long: of the rows from the samples on, try these alone, in about the time of three steps.
        known_good: gives batches of an earlier update that was healthy, None where there are none.
    """

    attempt: Attempt
    batch_number: int | None
    replays: Replays
    is_healthy: Callable[[Observation], bool]
    finite_before: bool | None = None
    brief: bool = False
    known_good: Callable[[], Sequence[Any] | None] | None = None
    _modules: dict[str, nn.Module] = field(init=False)
    _trace: Trace = field(init=False)
    _samples: SampleSearch = field(init=False)
    _earlier: bool | None = field(default=None, init=False)

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.replays.subject.model

    def __post_init__(self) -> None:
        self._modules = dict(named_modules(self.model))
        self._trace = Trace(self.model)
        self._samples = SampleSearch(self.attempt, self.replays, self.is_healthy)

    def cause(self) -> Cause | None:
        """The first row that applies; None where none does.

        Raises:
            DiagnosisFailed: a replay did not go as the step did.
        """
        if self.attempt.raised is not None:
            return self._raised(self.attempt.raised)
        found = self._poisoned()
        if found is not None or not self.attempt.undone:
            return found
        # What most incidents come from is found with the least: a traced replay takes as long as many steps.
        probe = Probe(self.model) if "nan" in self._samples.flaws() else None
        hidden = bool(self.replays.attributes.with_nan())
        first = self.replays.run(self.attempt.batches, None if hidden else probe)
        if probe is not None and probe.module is not None:
            return self._blamed(self._samples.by_value(), Origin(probe.module))
        self._must_not_raise(first)
        if self.is_healthy(first):
            return self._not_reproducible(first)
        # One more replay at most, and that where a plain attribute is not finite: a brief look has the time for it.
        found = self._hidden()
        if found is not None:
            return found
        if hidden and probe is not None:
            # What the modules kept is out of the way by now: a NaN that comes out is the batch's.
            self.replays.run(self.attempt.batches, probe)
            if probe.module is not None:
                return self._blamed(self._samples.by_value(), Origin(probe.module))
        if self.brief:
            blame = self._samples.each_alone()
            return None if blame is None else self._blamed(blame, NOWHERE)
        first = self.replays.run(self.attempt.batches, self._trace)
        self._must_not_raise(first)
        # What the search does next must not push out the gradients that later rows look at.
        gradients = self.replays.gradients()
        blame = self._samples.to_blame()
        if blame is not None:
            blamed = self._blamed(blame, self._surfaced())
            # A damaged state makes a few rows of any batch stand out. Values that are not finite are bad in every one.
            if not blame.finite or self._earlier_healthy() is not False:
                return replace(blamed, replays=self.replays.done)
        found = self._forward(first) or self._backward(first, gradients) or self._large(gradients)
        return None if found is None else self._compared(found)

    def _must_not_raise(self, observation: Observation) -> None:
        if observation.exception is not None:
            raise DiagnosisFailed(f"a replay raised {observation.exception}")

    def _raised(self, raised: Raised) -> Cause:
        what = f"the step raised {self.attempt.seen.exception}"
        what += f" at {raised.where}" if raised.where else ""
        named: dict[str, Any] = {"exception_type": raised.type}
        replays = self.replays
        if self.attempt.undone and replays.executor.no_replay is None and replays.left > 0:
            again = replays.run(self.attempt.batches)
            if again.exception is None:
                what += "; run again from the same state, it does not raise"
                named["deterministic"] = False
            else:
                blame = self._samples.that_raise()
                if blame is not None:
                    what += f"; {wording.which(blame.samples)}: {blame.why}"
                    named["samples"] = blame.samples
        return self._cause(CauseKind.EXCEPTION, what, Origin(raised.module, where=raised.where), **named)

    def _poisoned(self) -> Cause | None:
        seen, undone = self.attempt.seen, self.attempt.undone
        if seen.bad_optimizer_state:
            kind, (parameter, key) = CauseKind.POISONED_OPTIMIZER_STATE, self._split(seen.bad_optimizer_state[0])
            held, more = f"the optimizer's {key} of {parameter}", "; it stays when the weights alone are put back"
        elif seen.bad_parameters:
            kind, parameter, key = CauseKind.POISONED_PARAMETER, seen.bad_parameters[0], None
            held, more = parameter, ""
        else:
            return None
        what = when_it_went_bad(held, seen, undone=undone, finite_before=self.finite_before) + more
        # What the optimizer is tells nothing of a state that it had not stepped.
        stepper = None if undone else stepper_of(self.replays.subject, parameter)
        named: dict[str, Any] = {"state_key": key, "after_step": not undone, "finite_before": self.finite_before}
        if stepper is not None:
            what += f"; {stepper}"
            named |= {"optimizer": stepper.optimizer, "dtype": stepper.dtype, "eps": stepper.eps}
        return self._at_parameter(kind, what, parameter, **named)

    def _hidden(self) -> Cause | None:
        """The step is healthy once zeros stand for what is not finite in plain attributes."""
        attributes = self.replays.attributes
        names = attributes.suspects()
        if not names:
            return None
        attributes.mend(names)
        mended = self.replays.run(self.attempt.batches)
        if mended.exception is not None:
            attributes.unmend()
        if mended.exception is not None or not self.is_healthy(mended):
            # The replays that follow start from the zeros: what the modules kept may be this very step's doing.
            return None
        owner = self._owner(names[0])
        return self._cause(CauseKind.HIDDEN_STATE, wording.hidden(names), Origin(owner), attributes=names)

    def _not_reproducible(self, first: Observation) -> Cause:
        found = Repeating(self.attempt, self.replays).look(first)
        return self._cause(
            CauseKind.NOT_REPRODUCIBLE, found.what, deterministic=found.deterministic, attributes=found.attributes
        )

    def _blamed(self, blame: Blame, surfaced: Origin) -> Cause:
        samples = blame.samples
        what = f"{wording.which(samples)}: {blame.why}" if samples else blame.why
        return self._cause(CauseKind.BAD_INPUT, what, surfaced, samples=samples)

    def _compared(self, cause: Cause) -> Cause:
        """The cause, with what an earlier, healthy batch is in this state: one that is damaged spoils any batch."""
        healthy = self._earlier_healthy()
        if healthy is None:
            return cause
        what = f"{cause.explanation}; {wording.compared(healthy)}"
        return replace(cause, explanation=what, earlier_batch_healthy=healthy, replays=self.replays.done)

    def _earlier_healthy(self) -> bool | None:
        """Whether an earlier, healthy batch is so in this state; None where that is not known. It is run once."""
        if self._earlier is None and self.known_good is not None and self.replays.left > 0:
            batches = self.known_good()
            seen = None if batches is None else self.replays.run(batches)
            self._earlier = None if seen is None or seen.exception is not None else self.is_healthy(seen)
        return self._earlier

    def _surfaced(self) -> Origin:
        """Where the traced replay first showed something bad."""
        module = self._trace.surfaced()
        origin = self._trace.forward_origin()
        if module is None:
            return self._trace.backward_origin() or origin or NOWHERE
        return Origin(module) if origin is None else replace(origin, module=module)

    def _forward(self, first: Observation) -> Cause | None:
        trace = self._trace
        origin = trace.forward_origin()
        if origin is not None:
            what = wording.activation(self._named(origin.module), origin, trace.unexplained())
            return self._cause(CauseKind.NONFINITE_ACTIVATION, what, origin)
        if not math.isfinite(first.loss):
            origin, surfaced = trace.loss_origin(), trace.surfaced()
            given = None if surfaced is None else self._named(surfaced)
            unread = unreadable(self.attempt.batches)
            what = wording.loss(origin, trace.seen(), given, trace.unexplained(), unread)
            return self._cause(CauseKind.LOSS_FUNCTION, what, origin)
        if first.bad_buffers:
            name = first.bad_buffers[0]
            what = f"the forward pass puts a value that is not finite into {name}; loss and gradients stay finite"
            return self._at_parameter(CauseKind.NONFINITE_ACTIVATION, what, name)
        if self._only_replaced():
            origin = trace.first_source()
            what = f"a value that is not finite was made, and the model counts {first.sanitized} that it replaced"
            if origin is None:
                return None
            return self._cause(CauseKind.NONFINITE_ACTIVATION, what + wording.place(origin), origin)
        return None

    def _backward(self, first: Observation, gradients: dict[str, Tensor]) -> Cause | None:
        if first.gradient_elements_finite:
            return None
        origin = self._trace.backward_origin()
        if origin is None:
            name = first.bad_gradients[0]
            what = f"the loss is finite and the gradient of {name} is not"
            return self._at_parameter(CauseKind.BACKWARD_ONLY, what, name)
        where = "the loss function" if origin.module is None else self._named(origin.module)
        what = f"the loss is finite and the gradient stops being so in {where}{wording.place(origin)}"
        return self._cause(CauseKind.BACKWARD_ONLY, what, origin)

    def _large(self, gradients: dict[str, Tensor]) -> Cause | None:
        if not gradients or self._only_replaced():
            return None
        # Double precision, in which the square of no float32 overflows.
        squares = {name: float(g.detach().double().square().sum()) for name, g in gradients.items()}
        name = max(squares, key=lambda each: squares[each])
        what = wording.large(self.attempt.signals, name, squares)
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
            detail=origin.detail,
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
