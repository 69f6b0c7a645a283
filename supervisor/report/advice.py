"""What a person should change after an incident: a short list by cause."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from supervisor.events.incident_file import IncidentFile
from supervisor.records import ActionName, Cause, CauseKind, Outcome, SignalName
from supervisor.report.operations import mend
from supervisor.report.raised import mend_of
from supervisor.tracebacks import last_line, raised_at

__all__ = ["advice"]

_HALVES = ("float16", "bfloat16")
_FIND_THE_WRITER = (
    "To find what wrote it, check at every step: `detect: {state_every_steps: 1}`; the first incident then names the "
    "step that did it."
)
_MOST_NAMED = 8
# As the executor says that a step cannot be run again.
_NO_REPLAY = "(`replay`)"
# As the diagnosis says it of a class in the batch.
_NOT_LOOKED_INTO = "which was not looked into"


def advice(
    record: IncidentFile,
    *,
    of_job: bool = True,
    diagnosed: bool | None = None,
    left_out: Collection[int | str] | None = None,
) -> tuple[str, ...]:
    """What to do about an incident, most useful first; each line is a whole sentence.

    It claims no more than the diagnosis found, and follows what that blames: where the data are at fault, nothing is
    said of the rate. Where the cause is not known, it says how to find out.

    Args:
        record: the incident.
        of_job: whether the run was started from a job file, and not by a guard in a loop of one's own.
        diagnosed: whether its policy has the diagnosis on; None where that is not known.
        left_out: the rows that the run has left out for it; None where that is not known.
    """
    can_replay = of_job and record.bundle is not None and bool(record.bundle.batch and record.bundle.state)
    lines = [*_by_cause(record, can_replay=can_replay, diagnosed=diagnosed, left_out=left_out)]
    lines += _not_looked_into(record)
    lines += (_make_lasting(row.cure) for row in record.cures if row.chosen)
    data = any(cause.kind is CauseKind.BAD_INPUT or cause.earlier_batch_healthy for cause in _causes(record))
    if SignalName.DIVERGENCE in record.signals and record.cured_by is not ActionName.LOWER_LR and not data:
        lines.append(
            "The loss or the weights left their usual range over several batches: look at the learning-rate schedule "
            "at this step, and at what writes to the weights outside of the optimizer."
        )
    if record.cured_by is ActionName.LOWER_LR and not data:
        lines.append(
            "It has not come again since the learning rate was lowered: if it does, train with a lower peak rate, or "
            "warm up longer."
        )
    if record.outcome is Outcome.HALTED:
        command = "`supervisor resume RUN_DIR {}`" if of_job else "`Guard(..., resume=True, {})`"
        mended = command.format("--after-halt" if of_job else "after_halt=True")
        changed = command.format("--policy P.yaml" if of_job else "policy=P")
        lines.append(
            f"The ladder ended here. To go on: mend the cause, then {mended}; or change the policy, then {changed} "
            "(`supervisor replay` tells beforehand what another ladder would have decided)."
        )
    return tuple(lines)


def _exception(record: IncidentFile) -> str:
    last = last_line(record.traceback)
    return "the exception" if last is None else f"`{last}`"


def _mend_exception(named: str, at: str | None, said: str | None, traced: str) -> str:
    """What to do about an exception; the line that raises it is to be mended only where nothing else is known."""
    where, known = f" at {at}" if at else "", mend_of(said)
    if known is None:
        return f"Mend {named}{where}{traced}."
    return f"{known[0].upper()}{known[1:]}. (It was raised as {named}{where}{traced}.)"


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


def _causes(record: IncidentFile) -> tuple[Cause, ...]:
    return () if record.cause is None else (record.cause, *record.later_causes)


def _by_cause(
    record: IncidentFile, *, can_replay: bool, diagnosed: bool | None, left_out: Collection[int | str] | None
) -> Iterable[str]:
    cause = record.cause
    traced = "; the traceback is in incident.json" if record.traceback else ""
    if cause is None and SignalName.STEP_EXCEPTION in record.signals:
        yield _mend_exception(_exception(record), raised_at(record.traceback), last_line(record.traceback), traced)
        return
    if cause is None and record.cures:
        if not any(row.chosen for row in record.cures):
            what = "No change of the set-up that was tried trains better"
            yield f"{what}: standardise inputs and targets, and look at the loss."
        return
    if cause is None and record.not_known is not None:
        yield f"The cause is not known: {record.not_known}."
        if _NO_REPLAY in record.not_known:
            yield (
                "Give the guard `replay=loss_of`, a function of a batch that it may call again: it then finds the "
                "sample, the module or the line at fault."
            )
        return
    if cause is None:
        if diagnosed:
            yield "The cause is not known: the diagnosis was on and named none; `supervisor events` has its warnings."
        elif diagnosed is False:
            yield "Nobody has looked for the cause: `diagnose: {enabled: true}` in the policy switches that on."
        else:
            yield (
                "The cause is not known: a warning in `supervisor events` says why, if the diagnosis was on and came "
                "to nothing; `diagnose: {enabled: true}` in the policy switches it on."
            )
        return
    if cause.kind is not CauseKind.BAD_INPUT and any(each.kind is CauseKind.BAD_INPUT for each in record.later_causes):
        yield from _bad_input(record, left_out)
    match cause.kind:
        case CauseKind.BAD_INPUT:
            yield from _bad_input(record, left_out)
        case CauseKind.EXCEPTION:
            named, at = f"the {cause.exception_type or 'exception'}", cause.where or raised_at(record.traceback)
            yield _mend_exception(named, at, cause.explanation, traced)
        case CauseKind.POISONED_OPTIMIZER_STATE:
            yield (
                "Restoring the weights alone does not help: the optimizer's state keeps the value. Go back to a state "
                "that holds both, as reload_checkpoint does."
            )
            yield from _poisoned(cause)
        case CauseKind.POISONED_PARAMETER:
            yield from _poisoned(cause)
        case CauseKind.HIDDEN_STATE:
            yield from _hidden(cause)
        case CauseKind.NOT_REPRODUCIBLE:
            yield from _not_reproducible(cause)
        case CauseKind.NONFINITE_ACTIVATION | CauseKind.BACKWARD_ONLY | CauseKind.LOSS_FUNCTION:
            yield _numerics(cause, can_replay=can_replay)
            if cause.earlier_batch_healthy:
                yield _batches_differ(record, "an earlier batch was healthy in the same state")
        case CauseKind.GRADIENT_EXPLOSION:
            yield from _large(record, cause)


def _not_looked_into(record: IncidentFile) -> Iterable[str]:
    if any(_NOT_LOOKED_INTO in cause.explanation for cause in _causes(record)):
        yield (
            "Make the batch, and what it holds, a dataclass, a dict or a tuple, whose fields can be looked into: bad "
            "samples are then found and can be left out."
        )


def _bad_input(record: IncidentFile, left_out: Collection[int | str] | None) -> Iterable[str]:
    """What the data of all its updates are, rows first."""
    causes = [cause for cause in _causes(record) if cause.kind is CauseKind.BAD_INPUT]
    rows = [*dict.fromkeys(row for cause in causes for row in cause.dataset_indices)]
    if rows:
        yield f"Clean or leave out {'row' if len(rows) == 1 else 'rows'} {_some(rows)} of the data set."
        if left_out is None or any(row in left_out for row in rows):
            yield (
                "quarantine.jsonl in the run directory lists such rows: `quarantine: path/to/quarantine.jsonl` in the "
                "next job leaves them out from the start."
            )
        else:
            yield (
                'This run goes on with them. To leave them out, write a file with a line {"index": ROW} for each, and '
                "name it as `quarantine` in the next job."
            )
    without = [cause for cause in causes if not cause.dataset_indices]
    for cause in without[:_MOST_NAMED]:
        held = cause is record.cause and record.bundle is not None and record.bundle.batch is not None
        end = f": {record.bundle.batch} holds it." if held and record.bundle is not None else "."
        samples = f"sample {_some(cause.samples)} of " if cause.samples else ""
        number = "the batch" if cause.batch_number is None else f"batch {cause.batch_number}"
        at = f" of step {cause.step}" if cause.batch_number is None else ""
        yield f"Look at {samples}{number}{at}{end}"
    if len(without) > _MOST_NAMED:
        yield f"{len(without) - _MOST_NAMED} more of its batches are at fault: incident.json names them."


def _poisoned(cause: Cause) -> Iterable[str]:
    name = cause.parameter or "The parameter"
    if not cause.finite_before:
        if not cause.after_step:
            yield f"{name} was not finite before the step: this batch is not to blame."
        yield _FIND_THE_WRITER
    elif not cause.after_step:
        yield (
            f"{name} was written to between the check after the step before and this step's optimizer.step: look at "
            "code that writes to it, in the forward pass, in hooks, or between the steps."
        )
    elif cause.dtype in _HALVES:
        eps = ", or give the optimizer an eps that the type can hold, as `eps=1e-4`" if cause.eps is not None else ""
        yield (
            f"{cause.optimizer} steps {name} in {cause.dtype}: keep the weights in float32 and let `torch.autocast` "
            f"compute in {cause.dtype} (float32 master weights){eps}."
        )
    else:
        eps = "" if cause.eps is None else f", and give it a larger eps than {cause.eps:g}"
        yield f"Look at the rate and the options with which {cause.optimizer or 'the optimizer'} steps {name}{eps}."


def _hidden(cause: Cause) -> Iterable[str]:
    names = _some(cause.attributes)
    yield (
        f"Register {names} as a buffer (`register_buffer`, `persistent=False` to keep it out of state_dict) or in the "
        "guard's `extra_state`: a discarded step then puts it back, and a reload too; or set it anew for every batch."
    )


def _not_reproducible(cause: Cause) -> Iterable[str]:
    if cause.attributes:
        yield from _hidden(cause)
    elif cause.deterministic is False:
        yield (
            "Two replays from the same state differed. Call `torch.use_deterministic_algorithms(True)`, draw from "
            "seeded generators, and register what the loss keeps between steps, to tell chance from fault."
        )
    else:
        yield (
            "The same step from the same state was healthy when it was run again. Once may be chance; if one machine "
            "repeats it, test its memory and its accelerator, for a fault of the machine looks like this."
        )


def _numerics(cause: Cause, *, can_replay: bool) -> str:
    place = cause.where or cause.module or ("the loss function" if cause.kind is CauseKind.LOSS_FUNCTION else None)
    at = f" at {place}" if place else ""
    shown = f": {cause.detail}" if cause.detail else ""
    known = mend(cause.operation, cause.detail)
    if known is not None:
        return f"{cause.operation}{at}{shown}{'; ' if shown else ': '}{known}."
    if cause.operation is not None and cause.kind is CauseKind.BACKWARD_ONLY:
        return f"The gradient stops being finite in {cause.operation}{at}{shown}: look at what it was given there."
    if cause.operation is not None:
        return f"{cause.operation}{at} made the first value that is not finite{shown}: look at what it was given there."
    if cause.kind is CauseKind.LOSS_FUNCTION:
        how = "run the step again (`--replay`)" if can_replay else "compute it for this batch"
        return f"Where the loss stops being finite was not seen: {how} and look at its parts."
    if cause.kind is CauseKind.BACKWARD_ONLY:
        return f"The loss is finite and the gradient is not{at}: look at what is computed there, and at its hooks."
    return f"The first output that is not finite was seen{at}: bound what goes into it, or its scale."


def _large(record: IncidentFile, cause: Cause) -> Iterable[str]:
    clip = "`gradient_clip: {max_norm: 1.0}` bounds what one step can do"
    skipped = {decision.action for decision in record.decisions} == {ActionName.SKIP_BATCH}
    if cause.earlier_batch_healthy:
        yield _batches_differ(record, "an earlier batch was healthy in the same state")
        yield f"Where its values are as they should be, {clip}."
    elif cause.earlier_batch_healthy is False:
        yield (
            "A batch that was healthy before was not so in this state: look at the learning rate before this step, "
            f"lower its peak or warm up longer; {clip}."
        )
    elif skipped and record.outcome is Outcome.RECOVERED:
        yield _batches_differ(record, "those that came after, from the same state, were healthy")
        yield f"Where its values are as they should be, {clip}."
    else:
        share = f" {cause.parameter} has the largest gradient." if cause.parameter else ""
        yield (
            f"Loss and gradients were finite, and flagged for their size.{share} Look at the batch and at the learning "
            f"rate at this step; {clip}."
        )


def _batches_differ(record: IncidentFile, why: str) -> str:
    numbers = [each.batch_number for each in _causes(record) if each.batch_number is not None]
    which = f"batch {_some(numbers)}" if numbers else f"the batch of step {record.opened_at_step}"
    return f"Look at what is in {which}, and clean it or leave it out: {why}."


def _some(names: Iterable[object]) -> str:
    shown = [str(name) for name in names]
    more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    return ", ".join(shown[:_MOST_NAMED]) + more
