"""The job file: what to train, for how long, on what, and under which policy."""

from __future__ import annotations

from supervisor.job.load import ResolvedJob, dump_job, load_job
from supervisor.job.model import BestMode, Device, Job, KeepBest

__all__ = ["BestMode", "Device", "Job", "KeepBest", "ResolvedJob", "dump_job", "load_job"]
