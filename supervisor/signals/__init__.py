"""Detectors: numbers in, a Signal out. No torch, no I/O."""

from supervisor.signals.detectors import Detectors
from supervisor.signals.protocol import Detector

__all__ = ["Detector", "Detectors"]
