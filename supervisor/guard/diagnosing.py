"""The guard's side of a diagnosis: when one is due, what it is given, and the files that go with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from supervisor.clock import Clock
from supervisor.diagnosis import Bounds, Diagnosis, diagnose, remove_bundle, write_bundle
from supervisor.policy import RecoveryPolicy
from supervisor.records import Bundle, Observation
from supervisor.run_layout import RunLayout
from supervisor.signals import Detectors
from supervisor.states import RestorePoints
from supervisor.states.canary import Canaries
from supervisor.update import Attempt, Executor

__all__ = ["Diagnostician"]

IN_FULL = 2
"""Flagged updates of an incident that are looked into in full. From then on what takes long is skipped."""


@dataclass(frozen=True, slots=True)
class Diagnostician:
    """Looks into flagged updates.

    Attributes:
        policy: its bounds.
        points: the training objects, the data, and the ledger, which counts the replays of an incident.
        executor: runs the update again.
        detectors: say whether a replay would have been flagged.
        layout: where bundles go; None to write none.
        clock: for durations.
        canaries: have batches that were healthy.
    """

    policy: RecoveryPolicy
    points: RestorePoints
    executor: Executor
    detectors: Detectors
    layout: RunLayout | None
    clock: Clock
    canaries: Canaries

    def diagnose(self, attempt: Attempt) -> Diagnosis | None:
        """Find the cause of a flagged update; None where the policy does not want to know, or no more in this incident.

        It is to be called before the detectors take note of the update, so that a replay is judged as it was.
        """
        settings, incident = self.policy.diagnose, self.points.ledger.incident
        replays_left = settings.max_replays
        if incident is not None:
            replays_left -= incident.replays
            if self.policy.experiments is not None:
                # Where bad rows come now and then, each healthy update pays for a replay.
                replays_left += max(0, attempt.place.update - incident.opened_at_update - len(incident.decisions))
        if not settings.enabled or replays_left <= 0:
            return None
        brief = self.policy.experiments is not None and incident is not None and len(incident.decisions) >= IN_FULL
        indices = self.points.data.recent_indices(attempt.batches) if attempt.drawn else None
        diagnosis = diagnose(
            attempt,
            self.points.subject,
            self.executor,
            lambda seen: self._is_healthy(attempt, seen),
            bounds=Bounds(replays_left, settings.max_seconds),
            batch_number=self.points.data.last_number,
            clock=self.clock,
            # A state that was found bad then has been gone back from.
            known_good=self.canaries.newest,
            finite_before=attempt.place.step % self.policy.detect.state_every_steps == 0 or None,
            brief=brief,
        )
        cause = diagnosis.cause
        if cause is None or indices is None or not cause.samples:
            return diagnosis
        rows = tuple(indices[position] for position in cause.samples)
        return replace(diagnosis, cause=replace(cause, dataset_indices=rows))

    def _is_healthy(self, attempt: Attempt, seen: Observation) -> bool:
        """Whether a replay would not have been flagged; of an update that a trial convicted, whether it is not odd."""
        if self.policy.acted_on(self.detectors.inspect(seen)):
            return False
        return attempt.evidence is None or not self.detectors.suspect(seen)

    def write_bundle(self, incident: int, attempt: Attempt) -> Bundle | None:
        """Write what is needed to run the step again beside the incident's record; None without a run directory,
        and where the data gave no batch."""
        settings = self.policy.diagnose
        most = settings.max_bundle_mb * 2**20
        if self.layout is None or not settings.enabled or most == 0 or not attempt.batches:
            return None
        remove_bundle(self.layout.incident(incident - settings.keep_bundles))
        return write_bundle(self.layout.incident(incident), attempt, self.points.subject, most_bytes=most)
