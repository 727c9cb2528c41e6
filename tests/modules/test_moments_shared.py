"""Statistics of several processes: merged, they are those of one stream."""

import numpy as np
import pytest

from modules.moments import RunningMoments

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def batches(seed, shape=(3,)):
    """Batches of 0 to 7 values with means far from 0."""
    random = np.random.default_rng(seed)
    return [1e3 * seed + random.normal(size=(int(random.integers(8)), *shape)) for _ in range(40)]


@pytest.mark.parametrize("actors", [1, 2, 5])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_merged_moments_are_those_of_one_stream(actors, shape):
    """Whatever the order of the reports, and however many batches one of them covers."""
    one, merged = RunningMoments(shape), RunningMoments(shape)
    everywhere = [RunningMoments(shape) for _ in range(actors)]
    for moments in everywhere:
        moments.tell()
    order = np.random.default_rng(0)
    for at_once in zip(*(batches(seed, shape) for seed in range(actors)), strict=True):
        for moments, values in zip(everywhere, at_once, strict=True):
            moments.update(values)
            one.update(values)
        for which in order.permutation(actors)[: order.integers(actors + 1)]:
            merged.merge(everywhere[which].take())
    for moments in everywhere:
        merged.merge(moments.take())
    assert merged.count == one.count > 100 * actors
    np.testing.assert_allclose(merged.mean, one.mean, **CLOSE)
    np.testing.assert_allclose(merged.std, one.std, **CLOSE)
    if actors == 1:
        np.testing.assert_allclose(everywhere[0].std, one.std, **CLOSE)


def test_what_was_taken_is_not_given_again_and_what_is_merged_is_not_told():
    moments, values = RunningMoments(), np.arange(4.0)
    moments.tell()
    moments.update(values)
    first = moments.take()
    assert [int(first["count"]), float(first["mean"])] == [4, 1.5]
    moments.merge(first)
    assert int(moments.take()["count"]) == 0
    assert moments.count == 8


def test_older_values_fade_as_with_one_stream_of_batches():
    one, merged, source = RunningMoments(horizon=10), RunningMoments(horizon=10), RunningMoments()
    source.tell()
    for values in batches(1, ()):
        one.update(values)
        source.update(values)
        merged.merge(source.take())
    assert one.count == merged.count
    np.testing.assert_allclose([merged.mean, merged.std], [one.mean, one.std], **CLOSE)
