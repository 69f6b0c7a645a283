"""Why a run was halted: what was found first, then what was tried or passed over."""

from __future__ import annotations

from supervisor.records import Cause, Incident

__all__ = ["why_halted"]


def why_halted(record: Incident) -> str | None:
    """The reason of a halt, as `nonfinite_loss: sample 4 of the batch: …; passed over: …`.

    Args:
        record: the incident that ended in it.

    Returns:
        None where nothing was decided.
    """
    if not record.decisions:
        return None
    reason = record.decisions[-1].reason
    name = next((name for name in reversed(record.signals) if reason.startswith(f"{name} ")), None)
    cause = record.causes[-1] if record.causes else None
    if cause is None:
        # The reason of a decision begins with its finding, but not where it comes after an action that failed.
        return reason if name is not None or not record.signals else f"{record.signals[0]}; {reason}"
    for origin in (f"{name} opens incident {record.id}", f"{name} in incident {record.id}"):
        reason = reason.removeprefix(origin)
    found = f"{name or ', '.join(record.signals[:1])}: {_shortly(cause)}"
    reason = reason.lstrip(";, ")
    return f"{found}; {reason}" if reason else found


def _shortly(cause: Cause) -> str:
    """What was measured and where; the whole explanation where that is not known."""
    if cause.detail is None or cause.operation is None:
        return cause.explanation
    return f"{cause.detail}, in {cause.operation}" + (f" at {cause.where}" if cause.where else "")
