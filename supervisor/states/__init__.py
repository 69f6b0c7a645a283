"""The states a run may have to go back to: taken, held in memory and on disk, put back, gone on from."""

from supervisor.checkpoints import BestRule
from supervisor.states.canary import Canaries
from supervisor.states.evaluations import EvaluationPlan, Evaluations, Untouched
from supervisor.states.good_states import GoodStates
from supervisor.states.last_state import LastState
from supervisor.states.restore_points import RestorePoints
from supervisor.states.restoring import Restoring
from supervisor.states.resuming import Resuming
from supervisor.states.state_taker import CheckpointParts, Companions, StateTaker

__all__ = [
    "BestRule",
    "Canaries",
    "CheckpointParts",
    "Companions",
    "EvaluationPlan",
    "Evaluations",
    "GoodStates",
    "LastState",
    "RestorePoints",
    "Restoring",
    "Resuming",
    "StateTaker",
    "Untouched",
]
