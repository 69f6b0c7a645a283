"""One event as one line for people."""

from __future__ import annotations

from supervisor.events.numbers import nonfinite_as_word
from supervisor.events.schema import Event

__all__ = ["describe_event"]

_LEADING = {"event", "run_id", "rank", "step", "update", "schema_version", "time"}


def describe_event(event: Event) -> str:
    """`12:03:41.532  step 120 (update 124)  decision  incident=1 rung=0 action=skip_batch …`."""
    at = event.time.strftime("%H:%M:%S.%f")[:-3]
    where = "" if event.step is None else f"step {event.step}"
    where += "" if event.update is None else f" (update {event.update})"
    values = {**event.model_dump(mode="python", exclude=_LEADING, exclude_none=True)}
    fields = " ".join(f"{name}={_value(value)}" for name, value in values.items())
    return f"{at}  {where:<24}  {event.event:<20}  {fields}".rstrip()


def _value(value: object) -> str:
    if isinstance(value, float):
        return str(nonfinite_as_word(float(f"{value:.6g}")))
    if isinstance(value, dict):
        return "{" + " ".join(f"{key}={_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return ",".join(_value(each) for each in value)
    text = str(value)
    return repr(text) if " " in text or "\n" in text else text
