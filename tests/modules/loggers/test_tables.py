"""Tables beside the metrics: a file of their own in CSV, one scalar for each number elsewhere."""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from modules.loggers import Logger, LoggerContext, LoggerSpec
from modules.spec import UsageError


def row(arm: int, episodes: int, mean: float, extra: float | None) -> dict[str, float | None]:
    return {"arm": arm, "episodes": episodes, "return_mean": mean, "intrinsic_return_mean": extra}


def opened(run_dir: Path, sink: Literal["csv", "tensorboard"], *, state=None) -> Logger:
    spec = LoggerSpec(to=(sink,), mode="disabled", project="p", group=None, name=None, tags=())
    return spec.build(LoggerContext(run_dir=run_dir, config={}, name="n", frames=64 if state else 0, state=state))


def test_csv_has_a_row_per_event_and_arm_and_a_resume_cuts_off_what_came_after_the_checkpoint(tmp_path):
    log = opened(tmp_path, "csv")
    first = log.state()
    log.table("arms", 64, [row(0, 2, 0.1, 3.0), row(2, 1, 1 / 3, None)])
    state = log.state()
    written = (tmp_path / "arms.csv").read_text()
    assert written == (
        "frames,arm,episodes,return_mean,intrinsic_return_mean\n64,0,2,0.1,3.0\n64,2,1,0.3333333333333333,\n"
    )
    log.table("arms", 128, [row(0, 9, 9.0, 9.0)])
    log.finish({})
    log = opened(tmp_path, "csv", state=state)
    assert (tmp_path / "arms.csv").read_text() == written
    log.table("arms", 128, [row(1, 1, 2.0, 4.0)])
    log.finish({})
    assert (tmp_path / "arms.csv").read_text() == written + "128,1,1,2.0,4.0\n"
    log = opened(tmp_path, "csv", state=first)  # from a checkpoint before the first rows
    log.table("arms", 32, [row(1, 1, 2.0, 4.0)])
    log.finish({})
    assert (tmp_path / "arms.csv").read_text() == written.partition("\n")[0] + "\n32,1,1,2.0,4.0\n"
    with pytest.raises(UsageError, match=r"arms\.csv is missing or shorter"):
        opened(tmp_path, "csv", state=state)


def test_a_run_without_tables_has_no_files_of_them(tmp_path):
    log = opened(tmp_path, "csv")
    assert set(log.state()) == {"metrics_csv", "timing_csv"}
    log.finish({})
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.csv", "timing.csv"}


@pytest.mark.parametrize("name", ["metrics", "timing", "", "../arms", "a b", "1st", "a.csv"])
def test_names_that_no_table_can_have(name, tmp_path):
    log = opened(tmp_path, "csv")
    with pytest.raises(ValueError, match="no table can be called"):
        log.table(name, 64, [row(0, 2, 0.1, 3.0)])
    log.finish({})


def test_the_columns_are_those_of_the_first_row(tmp_path):
    log = opened(tmp_path, "csv")
    log.table("arms", 64, [{"arm": 1, "episodes": 2}])
    with pytest.raises(ValueError, match="table arms has the columns arm, episodes, not arm"):
        log.table("arms", 64, [{"arm": 1}])
    log.finish({})


def test_tensorboard_has_a_scalar_for_each_number_and_pictures(tmp_path):
    log = opened(tmp_path, "tensorboard")
    log.table("arms", 64, [row(0, 3, 0.5, None), row(2, 1, 4.0, 1.0)])
    picture = np.full((2, 3, 3), (0, 0, 255), np.uint8)  # red in OpenCV's order
    cv2.imwrite(str(tmp_path / "visits.png"), picture)
    log.image(64, tmp_path / "visits.png")
    log.finish({})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    scalars = {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert scalars == {
        "arms/episodes/00": [(64, 3.0)],
        "arms/episodes/02": [(64, 1.0)],
        "arms/return_mean/00": [(64, 0.5)],
        "arms/return_mean/02": [(64, 4.0)],
        "arms/intrinsic_return_mean/02": [(64, 1.0)],
    }
    (image,) = events.Images("visits")
    shown = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert np.array_equal(shown, picture)


def test_tensorboard_shows_the_hyperparameters_with_the_score(tmp_path):
    config = {"seed": 3, "optim": {"lr": 0.5, "betas": [0.9, 1]}, "network": {"memory": {"kind": "Lstm"}}}
    spec = LoggerSpec(to=("tensorboard",), mode="offline", project="p", group=None, name=None, tags=())
    log = spec.build(LoggerContext(run_dir=tmp_path, config={**config, "logger": {"mode": "offline"}}, name="n"))
    log.log(64, {"eval/return_mean": 2.5})
    log.finish({"status": "finished"})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    said = {
        name: HParamsPluginData.FromString(events.SummaryMetadata(f"_hparams_/{name}").plugin_data.content)
        for name in ("experiment", "session_start_info", "session_end_info")
    }
    begins = said["session_start_info"].session_start_info.hparams
    shown = {name: getattr(value, str(value.WhichOneof("kind"))) for name, value in begins.items()}
    assert shown == {"seed": 3, "optim.lr": 0.5, "optim.betas": "[0.9, 1]", "network.memory.kind": "Lstm"}
    assert [metric.name.tag for metric in said["experiment"].experiment.metric_infos] == ["eval/return_mean"]
    assert [(event.step, event.value) for event in events.Scalars("eval/return_mean")] == [(64, 2.5)]
    assert [path.name for path in (tmp_path / "tensorboard").iterdir() if path.is_dir()] == []
