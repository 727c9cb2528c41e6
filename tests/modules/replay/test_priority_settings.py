"""Settings of priorities: whatever they allow must give draws and finite weights, and nothing else is allowed."""

import pytest
import torch
from pydantic import ValidationError

from modules.replay.samplers import PRIORITY_FLOOR
from modules.replay.specs import PrioritisedSpec
from modules.replay.storage import MemmapSpec

BASE = {
    "length": 4, "capacity": 40, "burn_in": 0, "overlap": 0, "state": "stored", "batch_rows": 8, "ratio": 1.0,
    "mirror": False, "cross_mixture": 0.0,
    "storage": MemmapSpec(),
    "exponent": 0.9, "eta": 0.9, "importance": 0.6, "importance_end": 1.0, "importance_frames": 10,
}  # fmt: skip


@pytest.mark.parametrize("exponent", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("importance", [0.0, 1.0])
def test_errors_of_any_size_give_finite_weights(exponent, importance):
    sampler = PrioritisedSpec(**{**BASE, "exponent": exponent}).sampler(0)
    sampler.extend(4)
    sampler.update(torch.arange(4), torch.tensor([0.0, PRIORITY_FLOOR, 1.0, torch.finfo(torch.float32).max]))
    sampler.extend(1)  # at the highest so far
    for only in (sampler, tiny(sampler)):
        rows, weights = only.draw(64, importance)
        assert rows.min() >= 0
        assert rows.max() < 5
        assert weights.isfinite().all()
        assert weights.max() == 1


def tiny(sampler):
    """The same with all priorities at the floor."""
    sampler.update(torch.arange(5), torch.zeros(5))
    return sampler


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[("exponent", value) for value in (-0.1, 1.1, 1000.0, float("nan"), float("inf"))],  # 1000: NaN weights
        *[("eta", value) for value in (-0.1, 1.1, float("nan"))],
        *[(name, value) for name in ("importance", "importance_end") for value in (-0.1, 1.1, float("nan"))],
        *[("importance_frames", value) for value in (0, -1)],
    ],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(ValidationError, match=setting):
        PrioritisedSpec(**{**BASE, setting: value})
