import itertools
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

from modules.plots.curve import learning_curve
from modules.spec import UsageError

HEADER = "frames,train/return_mean,train/epsilon,loss/q,eval/return_mean,eval/return_min,eval/return_max\n"


def colours(path):
    """Return the set of colours in the picture; it must be a PNG of a readable size."""
    picture = matplotlib.image.imread(path)
    assert min(picture.shape[:2]) > 300
    return {tuple(colour) for colour in np.unique(np.round(picture[..., :3] * 255).reshape(-1, 3), axis=0)}


def test_learning_curve_draws_every_series(tmp_path):
    rows = "100,9.5,9.5,1.0,0.1,,,\n200,20.0,12.0,0.5,0.2,30.0,10.0,50.0\n300,40.0,24.0,0.1,0.1,60.0,20.0,90.0\n"
    header = HEADER.replace("train/epsilon", "train/return_mean_50,train/epsilon")
    (tmp_path / "metrics.csv").write_text(header + rows)
    path = learning_curve(tmp_path)
    assert path == tmp_path / "learning_curve.png"
    okabe_ito = {
        "greedy": (0, 114, 178),
        "training": (230, 159, 0),
        "last 50 episodes": (213, 94, 0),
        "loss": (204, 121, 167),
        "ε": (0, 158, 115),
    }
    drawn = colours(path)
    assert {name for name, colour in okabe_ito.items() if colour in drawn} == set(okabe_ito)


@pytest.mark.parametrize(
    ("metric", "values", "label"),
    [
        ("train/epsilon", (0.4, 0.1), "exploration ε"),
        ("train/temperature", (0.5, 0.02), "temperature"),
        ("train/temperature", (40.0, 2.0), "temperature"),
        ("train/length_mean", (40.0, 2.0), ""),
    ],
)
def test_the_right_axis_is_that_of_the_exploration(tmp_path, monkeypatch, metric, values, label):
    drawn = []
    monkeypatch.setattr("modules.plots.figure.png", lambda figure: drawn.append(figure) or b"")
    first, last = values
    (tmp_path / "metrics.csv").write_text(f"frames,{metric},loss/q\n100,{first},0.1\n200,{last},0.2\n")
    learning_curve(tmp_path)
    right = drawn[-1].axes[2]
    assert right.get_ylabel() == label
    assert [line.get_xydata().tolist() for line in right.get_lines()] == [[[100, first], [200, last]]] * bool(label)
    assert right.axison == bool(label)
    top = 1 if metric == "train/epsilon" else first
    assert right.get_ylim() == pytest.approx((-0.03 * top, 1.03 * top)) or not label


def test_learning_curve_of_a_run_without_evaluation(tmp_path):
    (tmp_path / "metrics.csv").write_text(HEADER + "100,9.5,1.0,,,,\n200,30.0,0.9,0.0,,,\n")
    path = learning_curve(tmp_path)
    assert path is not None
    assert (230, 159, 0) in colours(path)


def test_a_band_without_width_is_not_named_and_the_legend_is_not_on_the_data(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("modules.plots.figure.png", lambda figure: drawn.append(figure) or b"")
    (tmp_path / "summary.json").write_text('{"exp": "a_long_name_of_an_experiment", "memory": "lstm", "seed": 0}')
    for lowest in (30.0, 10.0):
        (tmp_path / "metrics.csv").write_text(HEADER + f"100,9.5,1.0,,30.0,{lowest},30.0\n200,5,1,,40,40,40\n")
        learning_curve(tmp_path)
        axes = drawn[-1].axes[0]
        axes.figure.canvas.draw()
        named = [text.get_text() for text in axes.get_legend().get_texts()]
        assert ("greedy evaluation (min to max)" in named) == (lowest == 10.0)
        (title,) = (item for item in axes.get_children() if "a_long" in getattr(item, "get_text", str)())
        legend = axes.get_legend().get_window_extent()
        assert legend.y0 >= axes.get_window_extent().y1
        assert legend.x1 <= axes.figure.bbox.x1
        assert title.get_window_extent().y0 >= legend.y1


def test_the_loss_axis_can_be_read(tmp_path, monkeypatch):
    """Whatever the losses span: three to seven labels, in their own place."""
    drawn = []
    monkeypatch.setattr("modules.plots.figure.png", lambda figure: drawn.append(figure) or b"")
    for low, high in (
        (3e-4, 0.2),
        (2e-3, 0.3),
        (0.05, 9),
        (0.09, 0.95),
        (0.04, 0.19),
        (0.1, 0.12),
        (1e-9, 1e3),
        (0, 1),
    ):
        (tmp_path / "metrics.csv").write_text(HEADER + f"100,9.5,1.0,{low},,,\n200,20.0,0.5,{high},,,\n")
        learning_curve(tmp_path)
        axes = drawn[-1].axes[1]
        axes.figure.canvas.draw()
        bottom, top = axes.get_ylim()
        boxes = [
            label.get_window_extent()
            for label, tick in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
            if bottom <= tick <= top
        ]
        assert 3 <= len(boxes) <= 7, (low, high)
        assert all(a.y1 < b.y0 for a, b in itertools.pairwise(boxes)), (low, high)


@pytest.mark.parametrize("content", [None, "", HEADER, HEADER + "100,,,,,,\n", HEADER + "100,1.0,1.0,0."])
def test_nothing_to_draw(tmp_path, content):
    if content is not None:
        (tmp_path / "metrics.csv").write_text(content)
    assert learning_curve(tmp_path) is None
    assert not (tmp_path / "learning_curve.png").exists()


def test_foreign_csv_is_refused(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,loss\n1,2\n")
    with pytest.raises(UsageError, match="first column must be 'frames'"):
        learning_curve(tmp_path)


def test_import_does_not_load_matplotlib():
    drawing = "modules.plots.arms, modules.plots.compare, modules.plots.curve, modules.plots.visits"
    code = f"import sys, {drawing}; raise SystemExit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
