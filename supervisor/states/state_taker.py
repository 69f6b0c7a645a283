"""Takes the states a run may have to go back to, puts one back, and goes on from one on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supervisor.checkpoints import CheckpointInfo, CheckpointStore
from supervisor.clock import Clock
from supervisor.engine import EngineState
from supervisor.errors import CheckpointError, InputError
from supervisor.events.schema import CheckpointRejectedEvent, RunResumedEvent, WarningEvent
from supervisor.events.writer import EventLog
from supervisor.guard.counters import Counters
from supervisor.guard.good_states import GoodStates
from supervisor.guard.incidents import IncidentBook
from supervisor.guard.moments import Moment
from supervisor.guard.quarantine import Quarantine
from supervisor.policy import DataAfterReload, RecoveryPolicy
from supervisor.records import ActionName
from supervisor.signals import Detectors
from supervisor.training.data_cursor import DataCursor, writable
from supervisor.training.inspection import StateCheck
from supervisor.training.state import Subject

__all__ = ["StateKeeper"]


class StateKeeper:
    """Holds what a checkpoint holds, and knows when one is due.

    Args:
        policy: intervals.
        subject: the training objects.
        cursor: the position in the data, None where the caller draws the batches.
        check: finds non-finite state.
        panel: the detectors, whose windows a checkpoint carries.
        book: the incident record, likewise.
        quarantine: the samples left out, likewise.
        states: where the states go.
        store: the checkpoints on disk, None for memory only.
        log: hears what is refused.
        clock: for the run's wall time.

    Attributes:
        counters: where the run stands.
        engine: the engine's memory.
    """

    def __init__(
        self,
        policy: RecoveryPolicy,
        subject: Subject,
        cursor: DataCursor | None,
        check: StateCheck,
        panel: Detectors,
        book: IncidentBook,
        quarantine: Quarantine,
        states: GoodStates,
        store: CheckpointStore | None,
        log: EventLog,
        clock: Clock,
    ) -> None:
        self.counters = Counters()
        self.engine = EngineState()
        self._policy = policy
        self._subject = subject
        self._cursor = cursor
        self._check = check
        self._panel = panel
        self._book = book
        self._quarantine = quarantine
        self._states = states
        self._store = store
        self._log = log
        self._clock = clock
        self._began_at = clock.monotonic()
        self._saved_update = -1

    @property
    def seconds(self) -> float:
        """Wall time of the run, earlier processes included."""
        return self.counters.seconds + self._clock.monotonic() - self._began_at

    @property
    def batch_number(self) -> int:
        """Batches drawn so far."""
        return self.counters.batches_outside if self._cursor is None else self._cursor.batch_number

    @property
    def data_can_go_back(self) -> bool:
        """Whether earlier batches can be had again."""
        return self._cursor is not None and self._cursor.can_go_back

    def due(self, step: int) -> bool:
        """Whether a state is to be taken after `step` steps."""
        snapshot = self._policy.snapshot
        return (snapshot.keep > 0 and step % snapshot.every_steps == 0) or (
            self._store is not None and step % self._policy.checkpoint.every_steps == 0
        )

    def begin(self) -> None:
        """Take the initial state, which is good at once.

        Raises:
            InputError: it is not finite, or a `state_dict` holds what no checkpoint can.
        """
        bad = (*self._check.bad_parameters(), *self._check.bad_optimizer_state())
        if bad:
            raise InputError(f"{', '.join(bad)} not finite before the first step: mend the initial state")
        moment = self._moment()
        self._states.remember(moment, good=True)
        try:
            self._save(moment, good=True, wait=True)
        except TypeError as error:
            # Found at once, not after hours: what a state_dict holds is the user's.
            raise InputError(str(error)) from error

    def keep(self, *, known_finite: bool) -> None:
        """Take the states that are due now; a state that is not finite is never taken."""
        step = self.counters.step
        if not self.due(step) or not (known_finite or self._check.is_finite()):
            return
        moment = self._moment()
        snapshot = self._policy.snapshot
        if snapshot.keep > 0 and step % snapshot.every_steps == 0:
            self._states.remember(moment)
        if step % self._policy.checkpoint.every_steps == 0:
            self._save(moment)

    def save(self, *, good: bool = False) -> None:
        """Commit the present state, if it is finite and not on disk already."""
        if self._store is None or self._saved_update == self.counters.update:
            return
        if not self._check.is_finite():
            message = "the last state is not finite: no checkpoint of it was written"
            self._log.emit(WarningEvent(step=self.counters.step, update=self.counters.update, message=message))
            return
        self._save(self._moment(), good=good, wait=True)

    def go_back(self, moment: Moment, data: DataAfterReload) -> int:
        """Follow a state that was put back: schedule position, and the data under `replay`.

        Returns:
            How many batches come again.
        """
        counters = self.counters
        counters.step = moment.step
        counters.applied_steps = moment.applied_steps
        counters.useful_seconds = moment.useful_seconds
        if data is DataAfterReload.REPLAY and self._cursor is not None:
            counters.replay_until = max(counters.replay_until, self._cursor.batch_number)
            self._cursor.seek(moment.data)
        return max(0, counters.replay_until - self.batch_number)

    def resume(self) -> None:
        """Go on from the newest verified checkpoint, good or not.

        Raises:
            InputError: there is none, or the newest is of another training; nothing is deleted.
        """
        if self._store is None:
            raise InputError("resume: there is nothing to resume without run_dir: give the run's directory")
        found = self._store.committed()
        for index, info in enumerate(found):
            tree = self._readable(info)
            if tree is not None:
                self._take_up(tree, info)
                self._states.adopt(found[index:], info.step, tree["probation"])
                return
        where = self._store.directory
        raise InputError(f"{where}: none of its {len(found)} checkpoints can be trusted: start a new run directory")

    def _readable(self, info: CheckpointInfo) -> Mapping[str, Any] | None:
        try:
            tree: Mapping[str, Any] = self._store.load(info.path) if self._store is not None else {}
            moment = Moment.from_tree(tree["moment"])
            misfit = self._subject.misfit(moment.training)
            if misfit is not None:
                # It can be trusted; an older one that happens to fit would throw away what came after it.
                where = self._store.directory.name if self._store is not None else ""
                raise InputError(f"{where}/{info.path.name}: is of another training: {misfit}")
            bad = self._check.bad_in(moment.training)
            reason = f"non-finite: {', '.join(bad)}" if bad else None
        except (CheckpointError, KeyError, TypeError, AttributeError) as error:
            reason = str(error)
        if reason is None:
            return tree
        path = f"checkpoints/{info.path.name}"
        self._log.emit(CheckpointRejectedEvent(checkpoint_step=info.step, path=path, reason=reason))
        return None

    def _take_up(self, tree: Mapping[str, Any], info: CheckpointInfo) -> None:
        moment = Moment.from_tree(tree["moment"])
        self.counters = Counters.from_plain(tree["counters"])
        self.engine = EngineState.from_plain(tree["engine"])
        policy = self._policy.model_dump(mode="json")
        same_ladder = tree["policy"]["ladder"] == policy["ladder"]
        # A halted run goes on under any other policy, whatever was changed in it.
        begins_anew = not same_ladder or (self.halted and tree["policy"] != policy)
        if begins_anew:
            self.engine = self.engine.for_new_ladder()
        self._panel.load_state_dict(tree["panel"])
        self._book.load_state_dict(tree["book"], self.engine)
        self._quarantine.load_state_dict(tree["quarantine"])
        self._subject.restore(moment.training)
        if self._cursor is not None and self._cursor.can_go_back:
            self._cursor.seek(moment.data)
        self._saved_update = self.counters.update
        event = RunResumedEvent(
            step=self.counters.step,
            update=self.counters.update,
            checkpoint_step=info.step,
            path=f"checkpoints/{info.path.name}",
            reason=None if same_ladder else "the ladder changed: its position starts at the lowest rung",
            ladder_begins_anew=begins_anew,
        )
        self._log.emit(event)

    @property
    def halted(self) -> bool:
        """Whether the run ended in `halt` under this ladder."""
        incident = self.engine.incident
        return incident is not None and self._policy.ladder[incident.rung].action is ActionName.HALT

    def _moment(self) -> Moment:
        counters = self.counters
        return Moment(
            step=counters.step,
            update=counters.update,
            applied_steps=counters.applied_steps,
            useful_seconds=counters.useful_seconds,
            training=self._subject.capture(self._states.take_spare()),
            data={} if self._cursor is None else self._cursor.position(),
        )

    def flush(self) -> None:
        """Wait until every checkpoint begun is on disk."""
        self._states.flush()

    def _save(self, moment: Moment, *, good: bool = False, wait: bool = False) -> None:
        if self._store is None:
            return
        counters = self.counters.to_plain()
        counters["seconds"] = self.seconds
        data, lost = writable(moment.data) if moment.data else ({}, 0)
        if lost:
            message = (
                f"batches put back and not used yet: {lost} cannot stand in the checkpoint, and a resume from it goes "
                "on without them: make batches of tensors, numbers and strings in dicts, lists and tuples"
            )
            self._log.emit(WarningEvent(step=moment.step, update=moment.update - 1, message=message))
        tree = {
            "moment": {**moment.to_tree(), "data": data},
            "counters": counters,
            "engine": self.engine.to_plain(),
            "panel": self._panel.state_dict(),
            "book": self._book.state_dict(),
            "quarantine": self._quarantine.state_dict(),
            "policy": self._policy.model_dump(mode="json"),
            "probation": self._states.healthy_steps_on_disk(),
        }
        self._states.save(moment, tree, good=good, wait=wait)
        self._saved_update = moment.update
