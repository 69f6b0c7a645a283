"""The warnings of a run, those that say the same once."""

from __future__ import annotations

from supervisor.events import schema
from supervisor.report.warnings import Warnings


def test_all_are_counted_and_the_last_that_differ_are_kept():
    warnings = Warnings()
    for message in ("a", "b", "slow step: 1.5 s", "c", "slow step: 2.25 s", "slow step: 1e-05 s"):
        warnings.tell(schema.WarningEvent(message=message))
    warnings.tell(schema.MetricsEvent(metrics={}))
    assert (warnings.count, warnings.last) == (6, ("b", "c", "slow step: 1e-05 s"))


def test_a_step_is_named():
    warnings = Warnings()
    warnings.tell(schema.WarningEvent(step=4, update=5, message="no"))
    assert warnings.last == ("step 4: no",)
