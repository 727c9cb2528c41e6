import math

import pytest
import torch
from torch import tensor

from modules.losses import ops

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("eta", "expected"),
    [
        (0.0, [2.0, 3.0, 5.0]),
        (1.0, [3.0, 4.0, 5.0]),
        (0.9, [0.9 * 3 + 0.1 * 2, 0.9 * 4 + 0.1 * 3, 5.0]),
    ],
)
def test_sequence_priority_by_hand(eta, expected):
    """Signs do not count; steps that are not learned count neither as errors nor in the mean."""
    td_errors = tensor([[1.0, -3.0, 2.0, -2.0], [9.0, -2.0, 4.0, NAN], [INF, NAN, -INF, -5.0]])
    mask = tensor([[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    torch.testing.assert_close(ops.sequence_priority(td_errors, mask, eta), tensor(expected))


def test_sequence_priority_of_a_row_without_learned_steps_is_0():
    td_errors, mask = tensor([[7.0, NAN], [0.0, -6.0]]), tensor([[False, False], [False, True]])
    assert ops.sequence_priority(td_errors, mask, 0.9).tolist() == pytest.approx([0.0, 6.0])


def test_sequence_priority_does_not_hide_an_error_that_is_not_finite():
    mask = torch.ones(2, 2, dtype=torch.bool)
    priority = ops.sequence_priority(tensor([[1.0, NAN], [1.0, -INF]]), mask, 0.9)
    assert priority.isfinite().tolist() == [False, False]
