"""Rehearsals: a job with faults injected, and the score of how its policy recovered them."""

from __future__ import annotations

from supervisor.rehearsal.rehearse import Rehearsal
from supervisor.rehearsal.score import Score, score, score_run
from supervisor.rehearsal.view import render_score

__all__ = ["Rehearsal", "Score", "render_score", "score", "score_run"]
