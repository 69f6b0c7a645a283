"""The job file: what to train, for how long, on what, and under which policy."""

from __future__ import annotations

from supervisor.job.load import ResolvedJob, load_job
from supervisor.job.model import Device, Job
from supervisor.job.written import dump_job, job_yaml

__all__ = ["Device", "Job", "ResolvedJob", "dump_job", "job_yaml", "load_job"]
