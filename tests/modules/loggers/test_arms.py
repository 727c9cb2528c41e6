"""What each arm did between two log events: counted, kept over a checkpoint, written everywhere."""

import math
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensordict import TensorDict

from modules import keys
from modules.loggers import ArmTally, Logger, LoggerSpec
from modules.loggers.arms import ArmEpisodes
from modules.spec import UsageError

NONE = ArmEpisodes(0, math.nan, math.nan)


def batch(*episodes: tuple[int, float, float], steps: int = 3) -> TensorDict:
    """One environment for each (arm, return, intrinsic return), whose episode ends in the middle of the batch."""
    n = len(episodes)
    done = torch.zeros(n, steps, 1, dtype=torch.bool)
    done[:, 1] = True
    arm, returns, intrinsic = (torch.tensor(column) for column in zip(*episodes, strict=True))
    step = {
        keys.ARM: arm.unsqueeze(1).repeat(1, steps),
        keys.DONE: done,
        # Those of steps at which no episode ends must not count.
        keys.EPISODE_RETURN: torch.where(done, returns.view(n, 1, 1), 99.0),
        keys.INTRINSIC_RETURN: torch.where(done, intrinsic.view(n, 1, 1), 99.0),
    }
    return TensorDict({"next": TensorDict(step, [n, steps])}, [n, steps])


def take(tally: ArmTally) -> list[ArmEpisodes]:
    found = tally.means()
    assert repr(tally.means()) == repr(found)  # until they are cleared
    tally.clear()
    return found


def test_episodes_and_mean_returns_arm_by_arm():
    tally = ArmTally(4)
    assert take(tally) == []
    tally.add(batch((1, 2.0, 0.5), (3, -1.0, 0.25)))
    tally.add(batch((1, 5.0, 1.5)))
    nothing, other, _, last = take(tally)
    assert (other, last) == (ArmEpisodes(2, 3.5, 1.0), ArmEpisodes(1, -1.0, 0.25))
    assert nothing.episodes == 0
    assert math.isnan(nothing.return_mean)
    assert take(tally) == []
    tally.add(batch((0, 7.0, 0.0)))
    assert take(tally)[0] == ArmEpisodes(1, 7.0, 0.0)


def test_without_arms_nothing_is_counted_and_without_a_bonus_only_its_column_is_missing():
    tally = ArmTally(2)
    steps = batch((1, 2.0, 0.5))
    tally.add(steps.exclude(("next", keys.ARM)))
    assert take(tally) == []
    tally.add(steps.exclude(("next", keys.INTRINSIC_RETURN)))
    arm = take(tally)[1]
    assert (arm.episodes, arm.return_mean) == (1, 2.0)
    assert math.isnan(arm.intrinsic_return_mean)
    tally.add(steps)  # nothing of that is left
    assert take(tally)[1] == ArmEpisodes(1, 2.0, 0.5)


def test_a_checkpoint_between_two_log_events_loses_nothing():
    whole, first, second = (ArmTally(2) for _ in range(3))
    parts = batch((0, 0.1, 0.2), (1, 0.3, 0.4)), batch((0, 0.7, 1 / 3), (1, 0.9, 0.1))
    for tally, seen in ((whole, parts), (first, parts[:1])):
        for steps in seen:
            tally.add(steps)
    second.load_state_dict(first.state_dict())
    first.add(parts[1])  # the state is a copy
    second.add(parts[1])
    assert take(second) == take(whole)


def opened(run_dir: Path, sink: Literal["csv", "tensorboard"], *, state=None, family: bool = True) -> Logger:
    spec = LoggerSpec(to=(sink,), mode="disabled", project="p", group=None, name=None, tags=())
    frames = 64 if state else 0
    return spec.build(run_dir, config={}, name="n", frames=frames, state=state, family=family)


def test_csv_has_a_row_per_event_and_arm_and_a_resume_cuts_off_what_came_after_the_checkpoint(tmp_path):
    log = opened(tmp_path, "csv")
    first = log.state()
    log.arms(64, [ArmEpisodes(2, 0.1, 3.0), NONE, ArmEpisodes(1, 1 / 3, math.nan)])
    state = log.state()
    written = (tmp_path / "arms.csv").read_text()
    assert written == (
        "frames,arm,episodes,return_mean,intrinsic_return_mean\n64,0,2,0.1,3.0\n64,2,1,0.3333333333333333,\n"
    )
    log.arms(128, [ArmEpisodes(9, 9.0, 9.0), NONE, NONE])
    log.finish({})
    log = opened(tmp_path, "csv", state=state)
    assert (tmp_path / "arms.csv").read_text() == written
    log.arms(128, [NONE, ArmEpisodes(1, 2.0, 4.0), NONE])
    log.finish({})
    assert (tmp_path / "arms.csv").read_text() == written + "128,1,1,2.0,4.0\n"
    opened(tmp_path, "csv", state=first).finish({})  # from a checkpoint before the first log event
    assert (tmp_path / "arms.csv").read_text() == written.partition("\n")[0] + "\n"
    with pytest.raises(UsageError, match=r"arms\.csv is missing or shorter"):
        opened(tmp_path, "csv", state=state)


def test_a_run_without_a_family_has_no_such_file(tmp_path):
    log = opened(tmp_path, "csv", family=False)
    assert set(log.state()) == {"metrics_csv", "timing_csv"}
    log.finish({})
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.csv", "timing.csv"}


def test_tensorboard_has_a_histogram_of_the_arms_their_returns_and_pictures(tmp_path):
    log = opened(tmp_path, "tensorboard")
    log.arms(64, [ArmEpisodes(3, 0.5, 2.0), NONE, ArmEpisodes(1, 4.0, 1.0)])
    picture = np.full((2, 3, 3), (0, 0, 255), np.uint8)  # red in OpenCV's order
    cv2.imwrite(str(tmp_path / "visits.png"), picture)
    log.image(64, tmp_path / "visits.png")
    log.finish({})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (histogram,) = events.Histograms("meta/arms")
    assert histogram.step == 64
    limits, counts = histogram.histogram_value.bucket_limit, histogram.histogram_value.bucket
    assert {limit: count for limit, count in zip(limits, counts, strict=True) if count} == {0.5: 3, 2.5: 1}
    assert [event.value for event in events.Scalars("meta/return_of_arm/02")] == [4.0]
    assert "meta/return_of_arm/01" not in events.Tags()["scalars"]
    (image,) = events.Images("visits")
    shown = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert np.array_equal(shown, picture)
