"""Going on from the newest checkpoint that can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.checkpoints import CheckpointStore
from supervisor.errors import CheckpointError, InputError
from supervisor.events.schema import (
    CheckpointRejectedEvent,
    LrRestoredEvent,
    RunResumedEvent,
    SettingsChangedEvent,
)
from supervisor.events.writer import EventLog
from supervisor.policy import RecoveryPolicy
from supervisor.policy.differences import differences
from supervisor.records import ActionName
from supervisor.saved import CheckpointInfo
from supervisor.states.on_disk import StatesOnDisk
from supervisor.states.restore_points import RestorePoint, RestorePoints
from supervisor.states.state_taker import CheckpointParts
from supervisor.training.inspection import StateCheck

__all__ = ["Resuming"]


@dataclass(frozen=True, slots=True)
class Resuming:
    """Finds the checkpoint to go on from, good or not, and puts everything back to it.

    Attributes:
        policy: of this run; another ladder than the checkpoint's begins at its lowest rung.
        store: the checkpoints.
        check: finds what is not finite in one.
        points: the training objects, the data and the ledger.
        parts: what a checkpoint carries beside.
        states: told which checkpoints there are.
        log: hears what was passed over.
    """

    policy: RecoveryPolicy
    store: CheckpointStore
    check: StateCheck
    points: RestorePoints
    parts: CheckpointParts
    states: StatesOnDisk
    log: EventLog

    def resume(self, *, after_halt: bool = False) -> bool:
        """Go on from the newest verified checkpoint.

        Args:
            after_halt: where that is of a halted run, go on with a fresh ladder and without cuts of the learning rate.

        Returns:
            Whether it has done so: the halt in the checkpoint is no longer where the run stands.

        Raises:
            InputError: there is none, or the newest is of another training; nothing is deleted.
        """
        found = self.store.committed()
        for index, info in enumerate(found):
            tree = self._readable(info)
            if tree is not None:
                mended = self._take_up(tree, info, after_halt)
                self.states.adopt(found[index:], info.step, tree["probation"])
                return mended
        where = self.store.directory
        raise InputError(f"{where}: none of its {len(found)} checkpoints can be trusted: start a new run directory")

    def _readable(self, info: CheckpointInfo) -> Mapping[str, Any] | None:
        try:
            tree: Mapping[str, Any] = self.store.load(info.path)
            point = RestorePoint.from_tree(tree["moment"])
            misfit = self.points.subject.misfit(point.training)
            if misfit is not None:
                # It can be trusted; an older one that happens to fit would throw away what came after it.
                where = f"{self.store.directory.name}/{info.path.name}"
                raise InputError(f"{where}: is of another training: {misfit}")
            bad = self.check.bad_in(point.training)
            reason = f"non-finite: {', '.join(bad)}" if bad else None
        except (CheckpointError, KeyError, TypeError, AttributeError) as error:
            reason = str(error)
        if reason is None:
            return tree
        path = f"checkpoints/{info.path.name}"
        self.log.emit(CheckpointRejectedEvent(checkpoint_step=info.step, path=path, reason=reason))
        return None

    def _take_up(self, tree: Mapping[str, Any], info: CheckpointInfo, after_halt: bool) -> bool:
        point, ledger = RestorePoint.from_tree(tree["moment"]), self.points.ledger
        ledger.load_state_dict(tree)
        self.parts.load(tree)
        policy = self.policy.model_dump(mode="json")
        same_ladder = tree["policy"]["ladder"] == policy["ladder"]
        # Under the policy of that time: the present ladder may have another rung there.
        rung, scale = ledger.engine.rung, ledger.lr_scale
        halted = rung is not None and tree["policy"]["ladder"][rung]["action"] == ActionName.HALT
        mended = after_halt and halted
        # A halted run goes on under any other policy, whatever was changed in it.
        begins_anew = mended or not same_ladder or (halted and tree["policy"] != policy)
        if begins_anew:
            ledger.begin_ladder_anew(mended=mended)
        why = None if same_ladder else "the ladder changed: its position starts at the lowest rung"
        if mended:
            why = "it goes on after its halt, with a fresh ladder and no cuts of the learning rate"
        self.points.subject.restore(point.training)
        self.points.data.resume(point.data)
        event = RunResumedEvent(
            step=ledger.counters.step,
            update=ledger.counters.update,
            checkpoint_step=info.step,
            path=f"checkpoints/{info.path.name}",
            reason=why,
            ladder_begins_anew=begins_anew,
            after_halt=mended,
        )
        self.log.emit(event)
        if ledger.halted and not after_halt:
            self.log.warn("this run was halted: once the cause is mended, after_halt=True goes on with a fresh ladder")
        if ledger.lr_scale != scale:
            at = {"step": ledger.counters.step, "update": ledger.last_update}
            self.log.emit(LrRestoredEvent(**at, lr_scale=ledger.lr_scale))
        changes = differences(tree["policy"], policy, "policy", added=False)
        if changes:
            self.log.emit(SettingsChangedEvent(changes=tuple(changes)))
        return mended
