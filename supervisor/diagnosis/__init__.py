"""Why a step went wrong: it is run again from the state before it, and its cause is named."""

from supervisor.diagnosis.bundle import load_bundle_file, write_bundle
from supervisor.diagnosis.diagnose import Diagnosis, diagnose
from supervisor.diagnosis.flagged import FlaggedUpdate, Raised
from supervisor.diagnosis.rerun import Rerun, rerun
from supervisor.diagnosis.trace import Origin

__all__ = [
    "Diagnosis",
    "FlaggedUpdate",
    "Origin",
    "Raised",
    "Rerun",
    "diagnose",
    "load_bundle_file",
    "rerun",
    "write_bundle",
]
