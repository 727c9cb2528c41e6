"""Random network distillation: α by hand, whitening, what is learned, resuming."""

from dataclasses import replace

import pytest
import torch

from modules.intrinsic import IntrinsicContext
from modules.intrinsic.rnd import DistillationSpec, RandomDistillation
from modules.keys import Spaces
from tests.modules.intrinsic.rows import CONV, CPU, IMAGES, MLP, VECTORS, descent, make_rows


def make(spaces: Spaces = VECTORS, **changes) -> RandomDistillation:
    torso = MLP if len(spaces.observation_shape) == 1 else CONV
    settings = {"torso": torso, "features": 16, "max_alpha": 5.0, "error_horizon": 0, "last_frames": 5}
    settings["descent"] = descent()
    return DistillationSpec(**(settings | changes)).build(IntrinsicContext(spaces=spaces, device=CPU))


def with_errors(monkeypatch, *errors):
    """An α whose errors are given."""
    rnd, left = make(), iter(errors)
    monkeypatch.setattr(rnd, "error", lambda _: torch.tensor(next(left)))
    return rnd


def test_alpha_is_the_clipped_score_of_the_running_error(monkeypatch):
    rnd = with_errors(monkeypatch, [1.0, 3.0], [5.0, 3.0], [3.0] * 97 + [100.0])
    assert rnd.alpha(torch.zeros(2, 4)).tolist() == [1.0, 2.0]  # μ = 2, σ = 1: 0 becomes 1
    expected = 1 + 2 / 2**0.5  # of 1, 3, 5, 3: μ = 3, σ = √2
    assert rnd.alpha(torch.zeros(2, 4)).tolist() == pytest.approx([expected, 1.0])
    alpha = rnd.alpha(torch.zeros(98, 4))
    assert alpha[-1] == 5  # L
    assert (alpha[:-1] == 1).all()


def test_alpha_of_equal_errors_is_1(monkeypatch):
    rnd = with_errors(monkeypatch, [0.1], [0.1], [0.1, 0.1 * (1 + 1e-7)])
    assert [rnd.alpha(torch.zeros(n, 4)).tolist() for n in (1, 1, 2)] == [[1.0], [1.0], [1.0, 1.0]]


def test_a_diverged_predictor_is_reported(monkeypatch):
    rnd = with_errors(monkeypatch, [1.0, torch.nan])
    with pytest.raises(ArithmeticError, match="not finite"):
        rnd.alpha(torch.zeros(2, 4))
    assert rnd.errors.count == 0


def test_vectors_are_whitened_and_cut_off_at_5():
    rnd = make()
    scale = torch.tensor([1e-3, 1.0, 1e3, 0.0])
    data = 7 * scale + scale * torch.randn(500, 4)
    rnd.alpha(data)
    white = rnd.whiten(data)
    assert torch.allclose(white.mean(0), torch.zeros(4), atol=1e-4)
    assert torch.allclose(white.std(0), torch.tensor([1.0, 1.0, 1.0, 0.0]), atol=0.01)
    assert rnd.whiten(torch.full((4,), 1e6)).tolist() == [5.0] * 4


def test_weights_of_several_convolutions_are_orthogonal():
    """Whatever the order in which a convolution keeps its numbers."""
    torso = replace(CONV, channels=(4, 6), kernels=((3, 3), (2, 2)), strides=((2, 2), (1, 1)))
    rnd = make(IMAGES, torso=torso)
    for network in (rnd.target, rnd.predictor):
        layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
        assert len(layers) == 4
        for rows in (layer.weight.flatten(1) for layer in layers):
            small = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
            torch.testing.assert_close(small, 2 * torch.eye(len(small)), atol=1e-5, rtol=0)


def test_images_go_to_the_torso_as_they_are():
    rnd = make(IMAGES)
    images = torch.randint(0, 256, (6, *IMAGES.observation_shape), dtype=torch.uint8)
    assert rnd.alpha(images).shape == (6,)
    assert rnd.whiten(images) is images
    assert rnd.observations.count == 0


def test_what_was_learned_is_less_new():
    """α tells it from what is new; measured by all errors so far, those before learning included, it would not."""
    rnd = make(error_horizon=300)
    everything = make()
    seen, new = torch.randn(64, 6, 4), torch.randn(100, 4) * 4
    target = [p.clone() for p in rnd.target.parameters()]
    rnd.alpha(seen.flatten(0, 1))
    everything.load_state_dict(rnd.state_dict())
    before = rnd.error(seen).mean()
    rows = make_rows(seen, torch.zeros(64, 5, dtype=torch.int64))
    for _ in range(200):
        loss = rnd.step(rows)["rnd_loss"]
    assert loss < before / 20
    assert all(torch.equal(a, b) for a, b in zip(target, rnd.target.parameters(), strict=True))
    everything.predictor.load_state_dict(rnd.predictor.state_dict())
    for _ in range(5):
        rnd.alpha(seen.flatten(0, 1))
    mixed = torch.cat((new, seen.flatten(0, 1)))
    alpha = rnd.alpha(mixed)
    assert alpha[:100].mean() > 2 > 1.1 > alpha[100:].mean()
    assert everything.alpha(mixed).max() < 2


def test_only_the_last_frames_are_learned_from():
    """Whatever stands in padding or before them, the step is the same."""
    steps, mask = torch.randn(3, 10, 4), torch.zeros(3, 9, dtype=torch.bool)
    mask[:2, 1:8] = True
    mask[2, 1:3] = True  # two real steps, fewer than are asked for: 1 … 3
    other = torch.full_like(steps, 1e3)
    other[:2, 3:9], other[2, 1:4] = steps[:2, 3:9], steps[2, 1:4]  # what steps 3 … 7 saw: 3 … 8
    rnd, twin = make(), make()
    twin.load_state_dict(rnd.state_dict())
    action = torch.zeros(3, 9, dtype=torch.int64)
    losses = [r.step(make_rows(x, action, mask))["rnd_loss"] for r, x in ((rnd, steps), (twin, other))]
    assert losses[0] == losses[1]
    other[:, 8] += 1
    assert rnd.step(make_rows(steps, action, mask)) != twin.step(make_rows(other, action, mask))


def test_resuming_continues_exactly():
    def go(rnd, data):
        return [(rnd.alpha(x[:, 0]), rnd.step(make_rows(x, torch.zeros(8, 5).long()))["rnd_loss"]) for x in data]

    first, data = make(), torch.randn(6, 8, 6, 4)
    go(first, data[:3])
    second = make()
    second.load_state_dict(first.state_dict())
    for (a, x), (b, y) in zip(go(first, data[3:]), go(second, data[3:]), strict=True):
        assert torch.equal(a, b)
        assert x == y


def test_the_predictor_learns_from_whitened_observations():
    """The loss is the mean error of what the networks see while acting, whatever the observations' scales."""
    rnd = make()
    data = torch.tensor([5.0, 0.0, -1e3, 2.0]) + torch.randn(40, 6, 4) * torch.tensor([1e-3, 1.0, 1e2, 7.0])
    rnd.alpha(data.flatten(0, 1))
    seen = data.flatten(0, 1)
    white = ((seen - seen.mean(0)) / seen.std(0, correction=0)).clamp(-5, 5)
    expected = (rnd.predictor(white) - rnd.target(white)).square().sum(-1).mean().item()
    raw = (rnd.predictor(seen) - rnd.target(seen)).square().sum(-1).mean().item()
    assert raw > 10 * expected
    found = rnd.step(make_rows(data, torch.zeros(40, 5, dtype=torch.int64)))["rnd_loss"].item()
    assert found == pytest.approx(expected, rel=1e-3)
