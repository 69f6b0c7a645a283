"""Why a step went wrong: it is run again from the state before it, and its cause is named."""

from supervisor.diagnosis.bundle import load_bundle_file, remove_bundle, write_bundle
from supervisor.diagnosis.diagnose import Bounds, Diagnosis, Overrun, diagnose, time_limit
from supervisor.diagnosis.replay import DiagnosisFailed, Replays
from supervisor.diagnosis.rerun import Rerun, rerun
from supervisor.diagnosis.trace import Origin

__all__ = [
    "Bounds",
    "Diagnosis",
    "DiagnosisFailed",
    "Origin",
    "Overrun",
    "Replays",
    "Rerun",
    "diagnose",
    "load_bundle_file",
    "remove_bundle",
    "rerun",
    "time_limit",
    "write_bundle",
]
