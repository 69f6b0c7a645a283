"""Which pairs are trained on, which choices are made on, and which are kept for the last measurement.

The pairs of one conversation lie together in the bundled file, so the parts are blocks of rows: training, a gap, test,
validation at the end. What the training part must not know is taken out of it: every pair of which either side is
nearly the same as a side of a held-out pair. The test part goes without near duplicates of the validation part in the
same way.

Shape suffixes: N, M pairs, E embedding elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BUNDLED", "HoldOut", "Split", "split_rows"]


@dataclass(frozen=True)
class HoldOut:
    """What to hold out of a file.

    Attributes:
        validation: pairs on which choices are made, from the end of the file.
        test: pairs for the last measurement, before those.
        gap: rows left out before the test part, so that no conversation lies on both sides.
        near_duplicate: cosine from which two embeddings count as nearly the same; None: nothing is compared.
    """

    validation: int
    test: int = 0
    gap: int = 0
    near_duplicate: float | None = None


BUNDLED = HoldOut(validation=512, test=512, gap=32, near_duplicate=0.9)
"""For the bundled file.

Step count, decay and noise were always chosen on its last 512 pairs, so these are for validation, and the test part is
one on which nothing was ever chosen. Rows up to 12 apart resemble each other more than distant ones, as parts of one
conversation do, so a gap of 32 holds a whole one.
"""


@dataclass(frozen=True)
class Split:
    """Rising row numbers of each part, int64."""

    training: Tensor
    validation: Tensor
    test: Tensor


def split_rows(question_NE: Tensor, answer_NE: Tensor, hold_out: HoldOut) -> Split:
    """Share the rows among the parts. The same rows give the same parts, and nothing is drawn.

    Args:
        question_NE: all questions, unit vectors [N, E].
        answer_NE: their answers, unit vectors [N, E].
        hold_out: how many pairs each held-out part has, and what keeps them apart.

    Returns:
        The parts. Test and training part are smaller than asked for, down to empty, where there are too few rows.
    """
    cut = max(len(question_NE) - hold_out.validation, 0)
    validation = torch.arange(cut, len(question_NE))

    def away_from(rows: Tensor, others: Tensor) -> Tensor:
        if hold_out.near_duplicate is None or not len(rows) or not len(others):
            return rows
        near = _is_near(question_NE, answer_NE, rows, others, hold_out.near_duplicate)
        return rows[~near]

    candidates = away_from(torch.arange(cut), validation) if hold_out.test else torch.arange(0)
    test = candidates[max(len(candidates) - hold_out.test, 0) :]
    end = max(int(test[0]) - hold_out.gap, 0) if len(test) else cut
    return Split(away_from(torch.arange(end), torch.cat((test, validation))), validation, test)


def _is_near(question_NE: Tensor, answer_NE: Tensor, rows: Tensor, others: Tensor, cosine: float) -> Tensor:
    """Which of `rows` [N] have a side that is nearly the same as either side of one of `others` [M]."""
    sides_ME = torch.cat((question_NE[others], answer_NE[others]))
    return ((question_NE[rows] @ sides_ME.T).amax(dim=1) >= cosine) | (
        (answer_NE[rows] @ sides_ME.T).amax(dim=1) >= cosine
    )
