"""The job file: what to train, for how long, on what, and under which policy."""

from __future__ import annotations

from supervisor.job.load import ResolvedJob, dump_job, load_job
from supervisor.job.model import BestMode, Device, Job, KeepBest
from supervisor.job.sinks import Sinks
from supervisor.job.webhook_address import webhook_address

__all__ = [
    "BestMode",
    "Device",
    "Job",
    "KeepBest",
    "ResolvedJob",
    "Sinks",
    "dump_job",
    "load_job",
    "webhook_address",
]
