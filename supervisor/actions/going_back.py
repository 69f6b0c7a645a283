"""The actions that go back to the newest good state: `reload_checkpoint`, `reinitialize`, `halt`."""

from __future__ import annotations

from torch import nn

from supervisor.actions.base import Action, Context, Effect
from supervisor.actions.module_matching import OWN_CELL, match_modules, recurrent_modules, whole_cell
from supervisor.actions.redraw import redraw_modules_
from supervisor.policy import DataAfterReload, ReinitializeRung, ReloadCheckpointRung

__all__ = ["Halt", "Reinitialize", "ReloadCheckpoint"]


class GoingBack(Action):
    """Whatever the flagged update did is gone once a good state was put back."""

    def unavailable(self, context: Context) -> str | None:
        """Without a good state."""
        return None if context.any_good_state else "there is no good state to go back to"

    def undoes_update(self) -> bool:
        """It always does."""
        return True


class ReloadCheckpoint(GoingBack):
    """Restores everything but the learning-rate cuts, the ladder, the windows and, under `advance`, the data."""

    def __init__(self, rung: ReloadCheckpointRung) -> None:
        self._data = rung.data

    def unavailable(self, context: Context) -> str | None:
        """Without a good state, or with `data: replay` on data that cannot go back."""
        if self._data is DataAfterReload.REPLAY and not context.data_can_go_back:
            return "the data cannot go back: write `data: advance`, or give the guard a list or a DataLoader"
        return super().unavailable(context)

    def apply(self, context: Context) -> Effect:
        """Restore the newest good state."""
        return Effect(restored=context.restore_good_state(self._data))


class Reinitialize(GoingBack):
    """Redraws the matched modules and clears the optimizer state of exactly their parameters."""

    def __init__(self, rung: ReinitializeRung) -> None:
        self._rung = rung

    def unavailable(self, context: Context) -> str | None:
        """Without a good state, or with `modules: auto` on a model that trains no recurrent module."""
        if not self._modules(context):
            mend = (
                f"write `modules:` with the globs to redraw, or `{OWN_CELL} = True` in the class of a cell of your own"
            )
            return f"the model trains no recurrent module: {mend}"
        return super().unavailable(context)

    def apply(self, context: Context) -> Effect:
        """Restore the newest good state and redraw; the global random generators stay the good state's."""
        modules = self._modules(context)
        restored = context.restore_good_state(DataAfterReload.ADVANCE)
        seed = context.next_draw_seed()
        redraw_modules_(modules, context.optimizer, self._rung.method, seed, context.reset_by_trainer)
        return Effect(restored=restored, modules=tuple(modules))

    def _modules(self, context: Context) -> dict[str, nn.Module]:
        globs, model, blamed = self._rung.modules, context.model, context.blamed_module
        if not isinstance(globs, str):
            return match_modules(model, globs)
        return recurrent_modules(model) if blamed is None else dict([whole_cell(model, blamed)])


class Halt(GoingBack):
    """The last rung of every ladder: the run ends with the model in the newest good state.

    Where the present state is sound, the recovery leaves it as it is and does not call this.
    """

    def unavailable(self, context: Context) -> str | None:
        """It can always act."""
        return None

    def apply(self, context: Context) -> Effect:
        """Restore the newest good state; without one the model stays as it was before the flagged batch."""
        if not context.any_good_state:
            return Effect()
        try:
            return Effect(restored=context.restore_good_state(DataAfterReload.ADVANCE))
        except Exception:  # noqa: BLE001  (a state_dict of the user's may refuse to go back, in any way)
            # A halt must not fail, or the engine would choose it again for ever; its effect says what was restored.
            return Effect()
