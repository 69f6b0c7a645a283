"""The plain records that flow between the rooms: Observation -> Signal -> Cause -> Decision -> Incident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from supervisor.headroom import Headroom
from supervisor.names import ActionName as ActionName
from supervisor.names import CauseKind as CauseKind
from supervisor.names import Outcome as Outcome
from supervisor.names import SignalName as SignalName

Detail = float | int | str | bool | tuple[str, ...]
"""One number, name or short list of names that a detector reports with its signal."""


NOTHING_FOUND = "nothing that it looks for was found"
"""What is said of a diagnosis that did not fail, and found no cause."""


@dataclass(slots=True)
class Observation:
    """What one update measured, as plain numbers. Nothing writes to it.

    One is made at every step, and one that is frozen takes five times as long to make.

    Attributes:
        step: position in the training schedule, from 0.
        update: attempted optimizer update, from 0; never goes back.
        loss: the loss; NaN where the step raised before it was known.
        grad_norm: total L2 norm of all gradients, accumulated in float32 or wider; NaN likewise.
        gradient_elements_finite: False when any gradient element is NaN or infinite.
        gradient_max_abs: largest gradient element where `grad_norm` is beyond the overflow bound, else None.
        bad_gradients: names of the parameters whose gradient holds a NaN or an infinity.
        bad_buffers: names of the buffers that hold one after the forward pass, where loss and gradients hold none.
        bad_batches: positions in the update, from 0, of the accumulated batches that are bad by themselves.
        bad_parameters: names of the parameters and buffers that hold one, the discarded batch's doing aside.
        bad_optimizer_state: `parameter.state_key` of the optimizer tensors that hold one.
        sanitized: values the model replaced by itself since the last update.
        loss_scale: the gradient scaler's scale under which a flagged update ran; None without one, and where the update
            is healthy, since asking for it waits for the device.
        lr: learning rate of the first parameter group for this update, as the scheduler set it; None: not known.
        weight_norms: L2 norm of each weight with two or more dimensions, by name, where it is finite and the
            state was checked; None elsewhere.
        headroom: what else that check measured, where the policy asks for it.
        exception: `Type: message` when the step raised, else None.
        exception_where: `file:line` in the user's code where it was raised, else None.
        replayed: True when the batch comes again after a reload with `data: replay`; such a step feeds no window.
    """

    step: int
    update: int
    loss: float
    grad_norm: float
    gradient_elements_finite: bool = True
    gradient_max_abs: float | None = None
    bad_gradients: tuple[str, ...] = ()
    bad_buffers: tuple[str, ...] = ()
    bad_batches: tuple[int, ...] = ()
    bad_parameters: tuple[str, ...] = ()
    bad_optimizer_state: tuple[str, ...] = ()
    sanitized: int = 0
    loss_scale: float | None = None
    lr: float | None = None
    weight_norms: Mapping[str, float] | None = None
    headroom: Headroom | None = None
    exception: str | None = None
    exception_where: str | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """A detector's finding about one observation, with the numbers it was based on."""

    name: SignalName
    details: Mapping[str, Detail] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Cause:
    """What the diagnosis of one flagged update found.

    Attributes:
        kind: what sort of cause it is.
        explanation: one sentence for a person.
        step: position of the update in the schedule.
        update: its number.
        batch_number: number of its (last) batch in the data, from 0; None where the caller draws the batches.
        module: qualified name of the innermost module where it first surfaced, `""` being the model itself; None
            where it is not known or lies outside of every module.
        module_type: class name of that module.
        parameter: name of the parameter or buffer at fault, or of the one with the largest share of the norm.
        state_key: which tensor of the parameter's optimizer state.
        samples: positions of the samples at fault along dimension 0, counted through the batches of the update.
        dataset_indices: their indices in the data set, in the same order; empty where the data do not give them.
        operation: the operation of torch that made the first bad value, as `log` or `SqrtBackward0`.
        where: `file:line` in the user's code of that operation, or where the exception was raised.
        detail: what was measured about the arguments of that operation.
        exception_type: class name of the exception.
        after_step: for a state that is bad: whether that showed only after the optimizer had stepped.
        finite_before: likewise: whether the state is known to have been finite after the step before; None: not known.
        optimizer: class name of the optimizer that steps the parameter, where the state is bad.
        dtype: the parameter's, likewise.
        eps: the optimizer's for that parameter, likewise, None where it has none.
        attributes: plain attributes of modules that the loss depends on and that no state holds, as `module.attribute`.
        earlier_batch_healthy: whether a batch that was healthy before is so in this state too; None: not tried.
        deterministic: for a step that could not be reproduced: whether two replays agreed to the bit.
        replays: how often the step was run again to find out.
        seconds: wall time of the diagnosis.
    """

    kind: CauseKind
    explanation: str
    step: int
    update: int
    batch_number: int | None = None
    module: str | None = None
    module_type: str | None = None
    parameter: str | None = None
    state_key: str | None = None
    samples: tuple[int, ...] = ()
    dataset_indices: tuple[int | str, ...] = ()
    operation: str | None = None
    where: str | None = None
    detail: str | None = None
    exception_type: str | None = None
    after_step: bool = False
    finite_before: bool | None = None
    optimizer: str | None = None
    dtype: str | None = None
    eps: float | None = None
    attributes: tuple[str, ...] = ()
    earlier_batch_healthy: bool | None = None
    deterministic: bool | None = None
    replays: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What the engine chose and why.

    Attributes:
        incident: number of the incident, from 1.
        rung: index in the ladder, from 0.
        action: the rung's action.
        attempt: which use of this rung in this incident, from 1.
        reason: one sentence, with whatever was passed over and why.
        retry: the batch comes again.
        in_place: a halt leaves the present state, which is proven sound, instead of the newest good one.
    """

    incident: int
    rung: int
    action: ActionName
    attempt: int
    reason: str
    retry: bool = False
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Bundle:
    """What lies beside an incident's record to run its first flagged step again.

    Attributes:
        batch: name of the file with the step's batches, None where there is none.
        state: name of the file with the state, likewise.
        update_applied: whether the state is the one after the step, which could not be discarded.
        note: what was left out, and why; None where nothing was.
    """

    batch: str | None
    state: str | None
    update_applied: bool = False
    note: str | None = None


@dataclass(frozen=True, slots=True)
class CureScore:
    """How a fork with one cure did.

    Attributes:
        cure: what it was, as `clip 1.0`.
        score: median loss of the probe batches after it; infinity where anything was not finite.
        from_step: schedule position of the state that it was tried on.
        chosen: whether it was put in force.
    """

    cure: str
    score: float
    from_step: int
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Incident:
    """Signals with fewer than `cooldown_steps` healthy steps between them, and what was done about them.

    Attributes:
        id: number of the incident in this run, from 1.
        opened_at_step: schedule position of the first flagged update.
        opened_at_update: its update number.
        closed_at_step: schedule position when the incident closed, None while it is open.
        signals: names of all signals seen, in order of first appearance.
        decisions: every decision taken, in order.
        outcome: open, recovered or halted.
        cured_by: action of the rung used last before the cool-down, None unless recovered.
        steps_lost: flagged steps, the steps undone with them, and the applied steps that reloads went back over.
        seconds: wall time from the first signal to the end of the incident.
        causes: what the diagnoses of its flagged updates found, in order.
        replays: how often its steps were run again to find out.
        opened_at_seconds: wall time of the run when it opened, earlier processes included.
        traceback: of the first exception of the user's in it, None where none was raised.
        bundle: what lies beside its record to run its first flagged step again.
        cures: the cures of the set-up that were tried in it, in order.
        not_known: why the diagnosis of its first flagged update came to nothing; None where it found a cause, and
            where nobody looked.
    """

    id: int
    opened_at_step: int
    opened_at_update: int
    closed_at_step: int | None = None
    signals: tuple[SignalName, ...] = ()
    decisions: tuple[Decision, ...] = ()
    outcome: Outcome = Outcome.OPEN
    cured_by: ActionName | None = None
    steps_lost: int = 0
    seconds: float = 0.0
    causes: tuple[Cause, ...] = ()
    replays: int = 0
    opened_at_seconds: float = 0.0
    traceback: str | None = None
    bundle: Bundle | None = None
    cures: tuple[CureScore, ...] = ()
    not_known: str | None = None
