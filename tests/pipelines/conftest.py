"""Fabricated runs and the report on them, for all tests of `pipelines.report`."""

import json
from pathlib import Path

import matplotlib.image
import pytest
from omegaconf import OmegaConf

from pipelines.api import compose, train
from pipelines.report import main
from tests.pipelines.saved_runs import MASKED

HEADER = ("frames", "loss/q", "eval/return_mean", "eval/length_mean")


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    """A run of 100 frames, to be copied and changed."""
    folder = tmp_path_factory.mktemp("origin") / "run"
    words = (MASKED, "+debug=smoke", "video=false", "total_frames=100", "threads=1")
    train(compose(*words), run_dir=folder, bar=False)
    return folder


@pytest.fixture
def make_run(tmp_path):
    """Return a function that writes one run directory below `tmp_path`/runs."""

    def make(name, score, *, seed=0, memory="lstm", exp="cartpole", status="finished", curve=None, config=None, **more):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        curve = {100: 1.0, 200: score} if curve is None else curve
        lines = [HEADER, *((frames, 0.5, value, 10.0) for frames, value in curve.items())]
        (run / "metrics.csv").write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
        settings = {"name": exp, "seed": seed, "total_frames": 200, "loss": {"_target_": "Q", "gamma": 0.9}}
        OmegaConf.save(OmegaConf.merge(settings, config or {}), run / "config.yaml")
        summary = {"exp": exp, "memory": memory, "seed": seed, "status": status, "frames": 200, "updates": 25}
        summary |= {"wall_s": 1.5, "score": score, "best_score": score, "commit": "abc1234"} | more
        (run / "summary.json").write_text(json.dumps(summary))
        return run

    return make


@pytest.fixture
def report(tmp_path, capsys):
    """Return a function that runs the command, checks its files and returns its standard output."""

    def run(*arguments):
        assert main([*map(str, arguments), "--out", str(tmp_path / "out")]) == 0
        output = capsys.readouterr()
        assert output.err == ""
        text, _, where = output.out.removesuffix("\n").rpartition("\n")
        assert text in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
        pictures = sorted((tmp_path / "out").glob("*.png"))
        assert pictures
        named = {Path(path) for path in where.partition(": ")[2].split(", ")}
        assert tmp_path / "out" / "report.md" in named <= set((tmp_path / "out").iterdir())
        for path in pictures:
            picture = matplotlib.image.imread(path)
            assert min(picture.shape[:2]) > 300
            assert picture[..., :3].std() > 0.05
        return text

    return run


@pytest.fixture
def refused(tmp_path, capsys):
    """Return a function that runs the command, which must refuse, and returns its one sentence."""

    def run(*arguments):
        out = tmp_path / "out"
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), "--out", str(out)])
        assert ended.value.code == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert not out.exists()
        assert output.err.count("\n") == 1
        assert output.err.endswith(".\n")
        return output.err

    return run
