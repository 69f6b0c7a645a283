"""Detectors: numbers in, a Signal out. No torch, no I/O."""

from supervisor.signals.panel import DetectorPanel
from supervisor.signals.protocol import Detector

__all__ = ["Detector", "DetectorPanel"]
