"""Videos hold the frames that were written, in order, and appear only when they are complete."""

import tracemalloc

import cv2
import numpy as np
import pytest

from modules.video import Writer


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
