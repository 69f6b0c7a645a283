"""What a person should change after an incident: a short list by cause."""

from __future__ import annotations

from collections.abc import Iterable

from supervisor.events.incident_file import IncidentFile
from supervisor.records import ActionName, Cause, CauseKind, Outcome, SignalName

__all__ = ["advice"]


_OPERATIONS = {
    "log": "keep its argument above zero: `torch.log(x.clamp_min(1e-8))`, or `log_softmax`, `logsigmoid`, `xlogy`",
    "sqrt": "add a small number under the root, `torch.sqrt(x + 1e-8)`: its slope at zero is infinite",
    "norm": "add a small number under the root: the slope of a norm at zero is not a number",
    "pow": "keep its base away from zero where the exponent is below one",
    "div": "keep the divisor away from zero: add a small number, or divide by `x.clamp_min(1e-8)`",
    "reciprocal": "keep the divisor away from zero: add a small number, or use `x.clamp_min(1e-8)`",
    "rsqrt": "keep its argument above zero: add a small number to it",
    "exp": "subtract the largest value before it, or use `logsumexp`, `softmax`, `softplus`",
    "softmax": "give every row at least one entry that is not masked: a row of -inf alone has no softmax",
    "where": "`where` differentiates both sides: replace the forbidden values before the operation, not after it",
    "acos": "keep its argument inside -1 and 1: clamp it",
    "asin": "keep its argument inside -1 and 1: clamp it",
    "var": "do not divide by the spread of a feature that can be constant: add a small number to it",
    "std": "its slope is not a number where all values are equal: take the root of the variance plus a small number",
}


def advice(record: IncidentFile) -> tuple[str, ...]:
    """What to do about an incident, most useful first; each line is a whole sentence.

    It claims no more than the diagnosis found: where the cause is not known, it says how to find out.

    Args:
        record: the incident.
    """
    if record.cause is not None:
        lines = list(_by_cause(record.cause))
    elif SignalName.STEP_EXCEPTION in record.signals:
        lines = ["Mend the exception: the traceback is in incident.json."]
    elif record.cures:
        none = "No change of the set-up that was tried trains better: standardise inputs and targets; look at the loss."
        lines = [] if any(row.chosen for row in record.cures) else [none]
    else:
        lines = [
            "The cause is not known: switch the diagnosis on (`diagnose: {enabled: true}`) to have it looked into."
        ]
    if SignalName.DIVERGENCE in record.signals and record.cured_by is not ActionName.LOWER_LR:
        lines.append(
            "The loss or the weights left their usual range over several batches: look at the learning-rate schedule "
            "at this step, and at what writes to the weights outside of the optimizer."
        )
    lines += (_make_lasting(row.cure) for row in record.cures if row.chosen)
    if record.cured_by is ActionName.LOWER_LR:
        lines.append(
            "Lowering the learning rate cured it: train with a lower peak rate, or warm up longer, if it comes again."
        )
    if record.outcome is Outcome.HALTED:
        lines.append(
            "The ladder ended: mend the cause, or change the policy and go on with `supervisor run JOB.yaml --resume "
            "--policy P.yaml`; `supervisor replay` tells beforehand what another ladder would have decided."
        )
    return tuple(lines)


def _make_lasting(cure: str) -> str:
    """Where to write a cure that a fork has found, so that the next run begins with it."""
    lines = {
        "clip": "`gradient_clip: {max_norm: %s}` in the policy",
        "lr": "%s times the learning rate in the job or the trainer",
        "momentum": "`momentum=%s` where the trainer builds its optimizer",
        "eps": "`eps=%s` where the trainer builds its optimizer",
    }
    told = []
    for part in cure.split(" + "):
        name, _, value = part.partition(" ")
        redraw = "an initialisation of the usual scale for the modules that `initial_scale` names"
        told.append(lines[name] % value if name in lines else redraw)
    return (
        f"The set-up was at fault, and `{cure}` mended it in this run: write {' and '.join(told)}. Inputs and targets "
        "that are not of the order of one are a common reason: standardise them."
    )


def _by_cause(cause: Cause) -> Iterable[str]:
    match cause.kind:
        case CauseKind.BAD_INPUT:
            yield from _bad_input(cause)
        case CauseKind.EXCEPTION:
            where = f" at {cause.where}" if cause.where else ""
            yield f"Mend the {cause.exception_type or 'exception'}{where}; the traceback is in incident.json."
        case CauseKind.POISONED_OPTIMIZER_STATE:
            yield (
                "Restoring the weights alone does not help: the optimizer's state keeps the value and poisons every "
                "update. Go back to a state that holds both, as reload_checkpoint does."
            )
            yield _find_the_writer
        case CauseKind.POISONED_PARAMETER:
            yield f"{cause.parameter or 'The parameter'} was not finite before the step: this batch is not to blame."
            yield _find_the_writer
        case CauseKind.NOT_REPRODUCIBLE if cause.deterministic is False:
            yield (
                "The program is not deterministic: two replays from the same state differed. Call "
                "`torch.use_deterministic_algorithms(True)` and draw from seeded generators to tell chance from fault."
            )
        case CauseKind.NOT_REPRODUCIBLE:
            yield (
                "The same step from the same state was healthy twice: something outside of it, such as a fault of the "
                "machine. Once is chance; if one machine repeats it, test its memory and its accelerator."
            )
        case CauseKind.NONFINITE_ACTIVATION | CauseKind.BACKWARD_ONLY | CauseKind.LOSS_FUNCTION:
            yield from _numerics(cause)
        case CauseKind.GRADIENT_EXPLOSION:
            share = f" of {cause.parameter}" if cause.parameter else ""
            yield (
                f"The gradient{share} grew too large: lower the learning rate, warm up longer, or clip with "
                "`gradient_clip: {max_norm: 1.0}`."
            )


_find_the_writer = (
    "To find what wrote it, check at every step: `detect: {state_every_steps: 1}`; the first incident then names the "
    "step that did it."
)


def _bad_input(cause: Cause) -> Iterable[str]:
    if cause.dataset_indices:
        rows = ", ".join(str(index) for index in cause.dataset_indices)
        yield f"Clean or leave out row {rows} of the data set."
        yield (
            "quarantine.jsonl in the run directory lists such rows: `quarantine: path/to/quarantine.jsonl` in the next "
            "job leaves them out from the start."
        )
    elif cause.samples:
        number = "" if cause.batch_number is None else f" {cause.batch_number}"
        yield f"Look at sample {', '.join(str(i) for i in cause.samples)} of batch{number}: batch.pt holds it."


def _numerics(cause: Cause) -> Iterable[str]:
    name = (cause.operation or "").lower()
    place = cause.where or cause.module or ("the loss function" if cause.kind is CauseKind.LOSS_FUNCTION else None)
    known = next((mend for key, mend in _OPERATIONS.items() if key in name), None)
    at = f" at {place}" if place else ""
    if known is not None:
        yield f"{cause.operation}{at}: {known}."
    elif cause.kind is CauseKind.BACKWARD_ONLY:
        yield (
            f"The forward pass is finite and the gradient is not{at}: look for a root, a norm or a division at zero, "
            "and for `where` around a forbidden value."
        )
    elif cause.kind is CauseKind.LOSS_FUNCTION:
        yield f"Every module is finite and the loss is not{at}: look for a logarithm of zero, or zero times one."
    else:
        yield f"Finite inputs and finite weights gave a non-finite output{at}: bound what goes into it, or its scale."
