"""What helps against exceptions of torch's whose cause lies elsewhere than at the line that raises them."""

from __future__ import annotations

import re

__all__ = ["SMALL_BATCH", "mend_of"]

SMALL_BATCH = "write `drop_last=True` in the loader, or another batch size"
"""What helps where the last batch of an epoch has too few rows."""

_KNOWN: tuple[tuple[str, str], ...] = (
    (
        r"Expected more than 1 value per channel when training",
        f"a batch of a single row is too small for BatchNorm, which takes statistics over the batch: {SMALL_BATCH}",
    ),
    (
        r"Expected more than 1 spatial element when training",
        "InstanceNorm takes statistics over each sample, and this one is of a single element: leave the layer out "
        "where the features have shrunk to one, or give it larger inputs",
    ),
    (
        r"stack expects each tensor to be equal size",
        "the rows of a batch differ in shape: give the loader a `collate_fn` that pads them, or cut them to one shape",
    ),
)
"""By the text of the exception, as a regular expression."""


def mend_of(said: str | None) -> str | None:
    """What to do about an exception, by its text; None where nothing more is known than where it was raised."""
    return next((mend for text, mend in _KNOWN if re.search(text, said or "")), None)
