"""Why a step went wrong: it is run again from the state before it, and its cause is named."""

from supervisor.diagnosis.bundle import BATCH_FILE, STATE_FILE, load_bundle_file, write_bundle
from supervisor.diagnosis.diagnose import Diagnosis, diagnose
from supervisor.diagnosis.flagged import FlaggedUpdate, Raised

__all__ = [
    "BATCH_FILE",
    "STATE_FILE",
    "Diagnosis",
    "FlaggedUpdate",
    "Raised",
    "diagnose",
    "load_bundle_file",
    "write_bundle",
]
