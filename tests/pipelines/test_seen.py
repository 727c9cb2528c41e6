"""What a user sees of a run with a family of policies, an intrinsic reward or a map, and of one without."""

import csv
from pathlib import Path

import cv2
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from modules import checkpoint
from modules.plots.video import BAND
from pipelines.agent.film import bonus_of
from tests.pipelines.launch import run

SMALL = (
    "+debug=smoke",
    "video=true",
    "logger.to=[csv,tensorboard]",
    "env.length=9",
    "env.horizon=12",
    "total_frames=800",
    "hydra.run.dir=run",
)


def trained(place: Path, *words: str) -> Path:
    ended = run("pipelines.train", *words, *SMALL, cwd=place)
    assert ended.code == 0, ended.err
    assert "no picture" not in ended.err + ended.out
    return place / "run"


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("family"), "+exp=agent57_corridor")


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("single"), "+exp=r2d2_corridor")


def rows(path: Path) -> list[dict[str, float]]:
    return [{key: float(cell) for key, cell in row.items() if cell} for row in csv.DictReader(path.open())]


def tags(run_dir: Path) -> dict[str, list[str]]:
    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    return events.Tags()


def test_arms_add_up_to_the_metrics_of_all_episodes_at_every_log_event(family):
    metrics, arms = rows(family / "metrics.csv"), rows(family / "arms.csv")
    assert sum(row["episodes"] for row in arms) == metrics[-1]["train/episodes"] > 40
    compared = 0
    for event in metrics:
        here = [row for row in arms if row["frames"] == event["frames"]]
        assert len({row["arm"] for row in here}) == len(here)
        assert bool(here) == ("train/return_mean" in event)
        for name, column in (
            ("train/return_mean", "return_mean"),
            ("train/intrinsic_return_mean", "intrinsic_return_mean"),
            ("meta/arm_mean", "arm"),
        ):
            if here:
                total = sum(row["episodes"] for row in here)
                mean = sum(row["episodes"] * row[column] for row in here) / total
                assert mean == pytest.approx(event[name], rel=1e-5)
                compared += 1
    assert compared > 30


def test_every_state_is_counted_once(family):
    saved = checkpoint.load(checkpoint.latest(family / "checkpoints"))
    counts = saved["callbacks"]["visits"]["counts"]
    assert counts.shape == (1, 10)
    assert int(counts.sum()) == saved["frames"] + saved["counters"]["episodes"]
    assert counts[0, 0] == counts.max()


def test_pictures_and_panels_of_a_family(family):
    for name in ("arms.png", "visits.png"):
        picture = cv2.imread(str(family / name))
        assert picture is not None
        assert min(picture.shape[:2]) > 200
    shown = tags(family)
    assert sorted(shown["images"]) == ["arms", "learning_curve", "visits"]
    arms = {int(row["arm"]) for row in rows(family / "arms.csv")}
    returns = sorted(tag for tag in shown["scalars"] if tag.startswith("arms/return_mean/"))
    assert returns == [f"arms/return_mean/{arm:02d}" for arm in sorted(arms)]


def test_without_a_family_there_is_nothing_of_it_but_the_map_is_drawn(single):
    names = {path.name for path in single.iterdir()}
    assert "visits.png" in names
    assert not names & {"arms.csv", "arms.png"}
    shown = tags(single)
    assert sorted(shown["images"]) == ["learning_curve", "visits"]
    assert not [tag for tag in shown["scalars"] if "arm" in tag]


MARGIN = 78  # pixels beneath all of it: two lines of words and two bars


def frame_of(run_dir: Path, number: int):
    (path,) = (run_dir / "videos").glob("*.mp4")
    film = cv2.VideoCapture(str(path))
    film.set(cv2.CAP_PROP_POS_FRAMES, number)
    good, frame = film.read()
    assert good
    return frame


def test_the_film_has_the_bonus_beneath_its_frames_and_only_where_there_is_one(family, single):
    with_it, without = frame_of(family, 6), frame_of(single, 6)
    height = without.shape[0]
    assert with_it.shape[0] == height + 2 * BAND
    assert with_it.shape[1] == without.shape[1]
    above = height - MARGIN
    strip = with_it[above : above + 2 * BAND]
    assert [bool((band < 200).any()) for band in (strip[:BAND], strip[BAND:])] == [True, True]  # both parts of NGU's
    start = frame_of(family, 0)[above + 4 : above + 2 * BAND - 4]
    assert not (start < 150).any()


def test_the_parts_of_a_bonus_are_drawn_where_it_has_them():
    reward = {"intrinsic/reward_mean": 0.6}
    assert bonus_of({}) == {}
    assert bonus_of(reward) == {"bonus": 0.6}
    assert bonus_of({**reward, "intrinsic/episodic_mean": 0.6}) == {"bonus": 0.6}
    both = {**reward, "intrinsic/episodic_mean": 0.3, "intrinsic/alpha_mean": 2.0}
    assert bonus_of(both) == {"episodic": 0.3, "lifelong": 2.0}
