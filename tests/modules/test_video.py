"""Videos hold the frames that were written, in order, and appear only when they are complete."""

import tracemalloc

import cv2
import numpy as np
import pytest

from modules.errors import BadValueError
from modules.plots.video import BAND, INKS, STEP, TEXT, WIDE, Strip, Writer


def grey(level, height=41, width=60):
    return np.full((height, width, 3), level, np.uint8)


def frames_of(path, *, fps):
    film = cv2.VideoCapture(str(path))
    assert film.get(cv2.CAP_PROP_FPS) == fps
    seen = []
    while (read := film.read())[0]:
        seen.append(read[1])
    return seen


@pytest.mark.parametrize("fps", [5, 30])
def test_frames_come_back_in_order_and_odd_sizes_are_padded(tmp_path, fps):
    levels = list(range(20, 240, 20))
    with Writer(tmp_path / "new" / "film.mp4", fps=fps) as video:
        for level in levels:
            video.add(grey(level))
    assert video.frames == len(levels)
    seen = frames_of(tmp_path / "new" / "film.mp4", fps=fps)
    assert [frame.shape for frame in seen] == [(42, 60, 3)] * len(levels)
    assert [frame.mean() for frame in seen] == pytest.approx(levels, abs=4)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["film.mp4"]


def test_an_unfinished_film_leaves_the_old_one_alone(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), Writer(path, fps=30) as video:
        [video.add(grey(1 // left)) for left in (1, 1, 0)]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_frames_make_no_file(tmp_path):
    with Writer(tmp_path / "film.mp4", fps=30):
        pass
    assert not list(tmp_path.iterdir())


def test_frames_are_not_kept(tmp_path):
    tracemalloc.start()
    with Writer(tmp_path / "film.mp4", fps=30) as video:
        for level in range(100):
            video.add(grey(level, 200, 200))  # 120 kB each
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * grey(0, 200, 200).nbytes


def inked(strip):
    """Columns of a strip [H, W, 3] that anything is drawn in, below the text."""
    return (strip[TEXT:] < 200).any(axis=(0, 2)).nonzero()[0]


def drawn(strip, values):
    """The strip under the last of frames that show `values`, one after the other."""
    frame = grey(100, 40, 200)
    frames = [strip.under(frame, value) for value in values]
    for under in frames:
        assert under.shape == (40 + 2 * BAND, 200, 3)
        assert np.array_equal(under[:40], frame)
    return frames[-1][40:]


def test_the_newest_step_is_at_the_right_edge_and_none_is_left_out():
    start = drawn(Strip(), [{}])
    assert not inked(start).size
    few = inked(drawn(Strip(), [{"bonus": 1.0}] * 5))
    assert few.max() >= 196
    assert 200 - 5 * STEP - 8 < few.min() < 200 - 4 * STEP
    many = inked(drawn(Strip(), [{"bonus": 1.0}] * 2000))
    assert (many.min() <= 3, many.max() >= 196) == (True, True)


def test_a_line_goes_up_with_its_value_against_the_highest_of_the_film():
    def height_of(values):
        strip = drawn(Strip(), [{"bonus": value} for value in [values[0], *[values[1]] * 5]])
        return 2 * BAND - np.flatnonzero((strip[TEXT:, 197] < 200).any(axis=1)).mean() - TEXT

    low, middle, high = height_of([1.0, 0.0]), height_of([1.0, 0.5]), height_of([0.2, 1.0])
    assert low == pytest.approx(3, abs=1.5)
    assert middle == pytest.approx((low + high) / 2, abs=1.5)
    assert high == pytest.approx(2 * BAND - TEXT - 3, abs=2.5)


def test_two_parts_have_a_band_each_and_an_episode_starts_an_empty_strip():
    strip = Strip()
    both = drawn(strip, [{"episodic": 0.5, "lifelong": 2.0}] * 3)
    upper, lower = np.split(both, 2)
    assert (upper == INKS[0]).all(2).any()
    assert not (upper == INKS[1]).all(2).any()
    assert (lower == INKS[1]).all(2).any()
    assert not inked(drawn(strip, [{}])).size
    assert not np.array_equal(drawn(strip, [{"episodic": 0.25, "lifelong": 2.0}]), both)


def test_wide_frames_have_a_larger_strip_and_an_odd_one_is_still_a_film(tmp_path):
    assert Strip().under(grey(0, 10, 2 * WIDE), {}).shape == (10 + 4 * BAND, 2 * WIDE, 3)
    strip = Strip()
    with Writer(tmp_path / "film.mp4", fps=5) as video:
        for step in range(4):
            video.add(strip.under(grey(50, 41, 61), {"bonus": 1.0} if step else {}))
    assert [frame.shape for frame in frames_of(tmp_path / "film.mp4", fps=5)] == [(42 + 2 * BAND, 62, 3)] * 4


@pytest.mark.parametrize("fps", [0.5, 12.5, np.float64(24000 / 1001)])
def test_a_film_may_be_slow_or_have_a_broken_speed(tmp_path, fps):
    with Writer(tmp_path / "film.mp4", fps=fps) as video:
        [video.add(grey(level)) for level in (50, 100)]
    assert cv2.VideoCapture(str(tmp_path / "film.mp4")).get(cv2.CAP_PROP_FPS) == pytest.approx(fps)


def test_frames_of_another_size_are_refused_and_leave_no_film(tmp_path):
    with (
        pytest.raises(BadValueError, match=r"frame 2 is uint8 \[41, 61, 3\], but the film began with \[41, 60, 3\]"),
        Writer(tmp_path / "film.mp4", fps=30) as video,
    ):
        [video.add(grey(100, width=width)) for width in (60, 60, 61)]
    assert not list(tmp_path.iterdir())
