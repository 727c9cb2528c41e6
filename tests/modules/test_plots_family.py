"""The pictures of arms and of visits: what they show, and that it can be read."""

import numpy as np
import pytest
from matplotlib.colors import LogNorm, Normalize

from modules.plots.arms import COLUMNS_SHOWN, arms_over_time, bin_episodes
from modules.plots.runs import read_table
from modules.plots.visits import visits_map

HEADER = "frames,arm,episodes,return_mean,intrinsic_return_mean\n"


@pytest.fixture
def figures(monkeypatch):
    """Figures that are drawn, instead of their bytes."""
    drawn = []
    monkeypatch.setattr("modules.plots.figure.png", lambda figure: drawn.append(figure) or b"png")
    return drawn


def maps(figure):
    """Every map in a figure, by the beginning of its title, with NaN where nothing is drawn."""
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    return {axes.get_title(loc="left").split()[0]: axes.collections[0].get_array().filled(np.nan) for axes in panels}


def test_shares_and_means_of_each_arm(tmp_path, figures):
    rows = "100,0,3,2.0,1.0\n100,2,1,4.0,8.0\n200,1,2,-1.0,0.5\n"
    (tmp_path / "arms.csv").write_text(HEADER + rows)
    (tmp_path / "metrics.csv").write_text("frames,meta/greedy_arm\n100,0\n200,1\n")
    assert arms_over_time(tmp_path) == tmp_path / "arms.png"
    assert (tmp_path / "arms.png").read_bytes() == b"png"
    (figure,) = figures
    nan = np.nan
    expected = {
        "Share": [[75, nan], [nan, 100], [25, nan]],
        "Mean": [[1.0, nan], [nan, 0.5], [8.0, nan]],  # the last of the two that begin so: the intrinsic one
    }
    found = maps(figure)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    returns = figure.axes[1].collections[0].get_array().filled(nan)
    np.testing.assert_array_equal(returns, [[2, nan], [nan, -1], [4, nan]])
    (line,) = figure.axes[0].get_lines()
    assert line.get_xydata().tolist() == [[100, 0], [200, 1]]
    assert {axes.get_ylabel() for axes in figure.axes} == {"arm (0 exploits)", "%", "reward", "intrinsic reward"}


def test_without_an_intrinsic_reward_there_is_no_map_of_it(tmp_path, figures):
    (tmp_path / "arms.csv").write_text(HEADER + "100,1,3,2.0,\n")
    arms_over_time(tmp_path)
    assert [axes.get_ylabel() for axes in figures[0].axes] == ["arm (0 exploits)", "arm (0 exploits)", "%", "reward"]


def test_many_log_events_share_columns_and_nothing_is_lost(tmp_path):
    rows = [f"{10 * event},{event % 3},{1 + event % 5},{event},0\n" for event in range(1, 1000)]
    (tmp_path / "arms.csv").write_text(HEADER + "".join(rows))
    table = read_table(tmp_path / "arms.csv")
    edges, episodes = bin_episodes(table, np.ones(len(rows)))
    assert (edges[0], edges[-1], len(edges)) == (0, 9990, COLUMNS_SHOWN + 1)
    assert np.all(np.diff(edges) > 0)
    assert episodes.shape == (3, COLUMNS_SHOWN)
    assert episodes.sum() == table["episodes"].sum()
    _, returns = bin_episodes(table, table["return_mean"])
    first = table["frames"] <= edges[1]
    assert returns[:, 0].sum() == (table["return_mean"] * table["episodes"])[first].sum()


@pytest.mark.parametrize("content", [None, "", HEADER])
def test_no_picture_without_episodes(tmp_path, content):
    if content is not None:
        (tmp_path / "arms.csv").write_text(content)
    assert arms_over_time(tmp_path) is None
    assert visits_map(tmp_path, np.zeros((0, 0), int)) is None
    assert visits_map(tmp_path, np.zeros((2, 2), int)) is None
    assert not list(tmp_path.glob("*.png"))


def test_visits_have_logarithmic_colours_and_cells_without_any_have_none(tmp_path, figures):
    path = visits_map(tmp_path, np.array([[1, 0], [1000, 3]]))
    assert path == tmp_path / "visits.png"
    (axes, bar) = figures[0].axes
    (image,) = axes.get_images()
    assert image.get_array().filled(-1).tolist() == [[1, -1], [1000, 3]]
    assert isinstance(image.norm, LogNorm)
    assert (image.norm.vmin, image.norm.vmax) == (1, 1000)
    assert axes.get_title(loc="left").strip() == "1,004 visits over the training, 3 of 4 cells (grey: never)"
    assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == ("column", "row", "visits")


@pytest.mark.parametrize(
    ("counts", "kind", "low", "high"),
    [([[400, 900]], Normalize, 400, 900), ([[400, 4000]], LogNorm, 400, 4000), ([[7, 0]], Normalize, 7, 8)],
)
def test_colours_span_what_was_counted(counts, kind, low, high, tmp_path, figures):
    visits_map(tmp_path, np.array(counts))
    (image,) = figures[0].axes[0].get_images()
    assert (type(image.norm), image.norm.vmin, image.norm.vmax) == (kind, low, high)


def test_stars_are_where_it_pays(tmp_path, figures):
    visits_map(tmp_path, np.ones((3, 4), int), [(2, 3), (0, 1)])
    axes = figures[0].axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[3, 2], [1, 0]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["pays"]


@pytest.mark.parametrize("shape", [(1, 101), (6, 101), (11, 10), (50, 50), (101, 2)])
def test_maps_of_any_shape_fill_a_picture_that_can_be_read(tmp_path, figures, shape):
    visits_map(tmp_path, np.full(shape, 7))
    figure = figures[0]
    figure.canvas.draw()
    assert np.all(np.array(figure.bbox.size) * 1.3 >= (200, 200))  # 130 dots per inch are written, 100 are drawn
    assert np.all(np.array(figure.bbox.size) * 1.3 <= (1300, 1300))
    cell = figure.axes[0].get_window_extent().size / shape[::-1]
    assert min(cell) > 5
