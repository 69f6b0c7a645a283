"""One thread for torch, here and in every process that a test starts: the machines that run this have two cores."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
