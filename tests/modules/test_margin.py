"""Films say beneath each picture what the agent does and what it thinks the actions are worth."""

import subprocess

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from modules.plots.margin import MOST, NARROWEST, OTHER, TAKEN, Margin, Moment, enlarged
from modules.plots.video import GIF_S, GIF_WIDE, WIDE, Writer, gif_of

FRAME = np.full((50, 400, 3), 200, np.uint8)


def bars(margin, colour):
    """Lengths in pixels of the bars of a colour, from above."""
    lengths = (margin == colour).all(2).sum(1)
    starts = np.flatnonzero((lengths[1:] > 0) & (lengths[:-1] == 0)) + 1
    return [int(lengths[start]) for start in starts]


def moment(action, values, **more):
    return Moment(episode=1, step=3, episode_return=2.5, action=action, values=np.array(values), **more)


def beneath(margin, *moments):
    """The margin under the last of some frames."""
    drawn = [margin.under(FRAME, each) for each in moments]
    assert len({each.shape for each in drawn}) == 1
    assert all(np.array_equal(each[:50], FRAME) for each in drawn)
    return drawn[-1][50:]


def test_bars_are_as_long_as_values_and_that_of_the_action_taken_has_its_own_colour():
    shown = beneath(Margin(["left", "stay", "right"], seed=0, bars=True), moment(2, [0.0, 1.0, 2.0]))
    (taken,), (none, half) = bars(shown, TAKEN), bars(shown, OTHER)
    assert none == 1
    assert half == pytest.approx(taken / 2, abs=1)
    assert taken > 150


def test_all_frames_of_a_film_have_one_scale_and_one_size():
    margin = Margin(["a", "b"], seed=0, bars=True)
    over = Moment(episode=1, step=9, episode_return=1.0, over="episode ended")
    shown = beneath(margin, moment(0, [0.0, 8.0]), over, moment(1, [2.0, 4.0]))
    assert bars(shown, TAKEN)[0] == pytest.approx(2 * bars(shown, OTHER)[0], abs=2)
    assert not bars(beneath(margin, over), TAKEN)


def test_an_action_that_is_not_allowed_has_no_bar():
    shown = beneath(Margin(["a", "b", "c"], seed=0, bars=True), moment(0, [1.0, np.nan, 0.5]))
    assert (len(bars(shown, TAKEN)), len(bars(shown, OTHER))) == (1, 1)


@pytest.mark.parametrize(("actions", "valued"), [(2, False), (MOST + 1, True)])
def test_without_values_or_with_too_many_there_are_words_alone(actions, valued):
    margin = Margin([str(action) for action in range(actions)], seed=0, bars=valued)
    shown = beneath(margin, moment(1, np.arange(actions)))
    assert not bars(shown, TAKEN)
    assert shown.shape[0] < 50
    assert (shown < 100).any()  # the words


def test_what_changes_is_written():
    margin = Margin(["left", "right"], seed=0, bars=False)
    first, *others = (
        margin.under(FRAME, Moment(episode=1, step=3, episode_return=2.5, action=0) if not more else more[0])
        for more in (
            (),
            (Moment(episode=2, step=3, episode_return=2.5, action=0),),
            (Moment(episode=1, step=4, episode_return=2.5, action=0),),
            (Moment(episode=1, step=3, episode_return=3.5, action=0),),
            (Moment(episode=1, step=3, episode_return=2.5, action=1),),
        )
    )
    assert not any(np.array_equal(first, other) for other in others)
    assert not np.array_equal(first, Margin(["left", "right"], seed=1, bars=False).under(FRAME, moment(0, [0, 0])))


@pytest.mark.parametrize("actions", [2, 6, 18, MOST])
@pytest.mark.parametrize("width", [NARROWEST, 2 * WIDE])
def test_it_fits_any_width(width, actions):
    frame = np.zeros((10, width, 3), np.uint8)
    margin = Margin([f"up and right {action}" for action in range(actions)], seed=0, bars=True)
    shown = margin.under(frame, moment(actions - 1, np.linspace(-1, 1, actions)))[10:]
    assert len(bars(shown, TAKEN)) == 1
    assert (shown[:, -2:] > 200).all()  # nothing runs out of the picture


def test_narrow_frames_are_enlarged_and_others_copied():
    assert enlarged(np.zeros((210, 160, 3), np.uint8)).shape == (420, 320, 3)
    same = enlarged(FRAME)
    assert np.array_equal(same, FRAME)
    assert same is not FRAME


def test_a_gif_is_smaller_shorter_and_beside_the_film(tmp_path):
    with Writer(tmp_path / "a b.mp4", fps=30) as video:
        for level in range(30 * (GIF_S + 2)):
            video.add(np.full((60, 2 * GIF_WIDE, 3), level % 250, np.uint8))
    path = gif_of(tmp_path / "a b.mp4", fps=30)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a b.gif", "a b.mp4"]
    shown = cv2.VideoCapture(str(path))
    assert shown.get(cv2.CAP_PROP_FRAME_WIDTH) == GIF_WIDE
    assert subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path)], capture_output=True, text=True,
                          check=False).stderr.count(f"Duration: 00:00:{GIF_S}") == 1  # fmt: skip


def test_a_gif_that_cannot_be_made_is_told_in_one_line(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"no film")
    with pytest.raises(OSError, match="no GIF of the film: ") as told:
        gif_of(tmp_path / "film.mp4", fps=30)
    assert "\n" not in str(told.value)
    assert [each.name for each in tmp_path.iterdir()] == ["film.mp4"]
