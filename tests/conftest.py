"""What holds for every test, so that a busy machine changes nothing.

One thread for torch, here and in every process that a test starts: the machines that run this have two cores. Examples
of hypothesis have no deadline, and are the same ones every time; `make torture` draws others.
"""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

# Under nohup it is ignored, and the supervisor leaves an ignored signal as it is.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", steady, max_examples=50, derandomize=True, database=None)
settings.register_profile("searching", steady, max_examples=300, print_blob=True)
settings.load_profile("steady")
