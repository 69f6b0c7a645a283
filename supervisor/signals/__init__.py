"""Detectors: numbers in, a Signal out. No torch, no I/O."""

from supervisor.signals.detectors import Detector, Detectors

__all__ = ["Detector", "Detectors"]
