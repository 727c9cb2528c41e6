"""Recall from Python: settings, training and results without the command line."""

import json
import logging

import hydra
import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from omegaconf.errors import ReadonlyConfigError

from pipelines import api
from pipelines.api import Result, RunFailed, UsageError, compose, load, train
from pipelines.evaluate import main
from tests.pipelines.saved_runs import MASKED, saved_kind

TINY = (MASKED, "+debug=smoke", "video=false", "total_frames=100")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder outside the repository."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_settings_are_those_of_the_command_line(place):
    settings = compose(MASKED, "seed=3", "network/memory=gru")
    assert (settings.config.seed, settings.config.network.memory.name) == (3, "gru")
    assert OmegaConf.create(str(settings)) == OmegaConf.create(OmegaConf.to_container(settings.config, resolve=True))
    with pytest.raises(ReadonlyConfigError):
        settings.config.optim.lr = 1.0
    assert compose("env=gym", "network/torso=mlp", "env.kwargs.render_mode=ansi").config.env.kwargs == {
        "render_mode": "ansi"
    }
    assert not list(place.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((MASKED, "sead=3"), "sead: no such setting; did you mean seed?"),
        ((MASKED, "optim.lr=0"), "optim.lr: it should be greater than 0, not 0"),
        ((MASKED, "network/torso=conv"), "network/torso=conv needs uint8 images"),
        (("drqn_cartpole",), r"drqn_cartpole: not of the form setting=value; did you mean \+exp=drqn_cartpole"),
        (("--exp",), "--exp: no such option here; say setting=value"),
        ((MASKED, "seed=0,1"), "seed"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(words, sentence, place):
    with pytest.raises(UsageError, match=sentence) as said:
        compose(*words)
    assert "\n" not in str(said.value)


def test_hydra_of_the_users_own_goes_on(place):
    (place / "mine").mkdir()
    (place / "mine" / "config.yaml").write_text("lr: 3\n")
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(place / "mine"), version_base="1.3"):
        assert compose(MASKED).config.seed == 0
        with pytest.raises(UsageError, match="sead"):
            compose(MASKED, "sead=1")
        assert hydra.compose("config").lr == 3
    assert not GlobalHydra.instance().is_initialized()


def test_two_trainings_in_one_process_are_those_of_two_commands(place, capfd):
    before = logging.getLogger().handlers[:]
    found = [train(compose(*TINY, "seed=3"), run_dir=name, bar=False) for name in ("first", "second")]
    output = capfd.readouterr()
    assert (output.out, output.err) == ("", "")
    assert logging.getLogger().handlers == before
    assert [result.run_dir for result in found] == [place / "first", place / "second"]
    texts = {(result.run_dir / "metrics.csv").read_text() for result in found}
    assert len(texts) == 1
    summary = found[0].summary
    assert (summary["status"], summary["seed"], summary["frames"]) == ("finished", 3, 100)
    metrics = found[0].metrics
    # A DataFrame where pandas is installed, a mapping of arrays elsewhere.
    assert np.asarray(metrics["frames"])[-1] == 100
    assert np.asarray(metrics["eval/return_mean"])[-1] == pytest.approx(summary["score"])
    assert load(found[0].run_dir)(np.zeros(4)) in (0, 1)


def test_a_run_has_the_usual_folder_and_a_notebook_shows_its_curve(place):
    result = train(compose(*TINY), bar=False)
    assert result.run_dir.is_absolute()
    assert result.run_dir.parent == place / "outputs" / "smoke"
    with pytest.raises(UsageError, match="a run is there already"):
        train(compose(*TINY), run_dir=result.run_dir, bar=False)
    figure = result.plot()
    assert figure.axes[0].get_ylabel() == "return per episode [reward]"
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure._repr_png_() == (result.run_dir / "learning_curve.png").read_bytes()


def test_what_is_not_there_is_one_sentence(place):
    for ask, sentence in (
        (lambda: Result(place).summary, r"summary.json: no summary of a run is there"),
        (lambda: Result(place).metrics, r"cannot read .*metrics.csv"),
        (lambda: Result(place).plot(), "there is nothing to draw in metrics.csv"),
        (lambda: load(place), r"no run is there \(it has no config.yaml\)"),
        (lambda: api.evaluate(place, episodes=0), "episodes: it should be greater than 0, not 0"),
        (lambda: load(place, "worst"), "checkpoint: it should be 'best' or 'last', not 'worst'"),
    ):
        with pytest.raises(UsageError, match=sentence):
            ask()


def test_before_the_first_evaluation_there_is_only_the_last_checkpoint(place):
    saved_kind(place, "lstm")
    folder = place / "checkpoints"
    (folder / "best.pt").rename(folder / "frames_000000001000.pt")
    with pytest.raises(UsageError, match="no evaluation has chosen a best checkpoint yet; use checkpoint=last"):
        load(place)
    assert load(place, "last")(np.zeros(4)) in (0, 1)
    (folder / "frames_000000001000.pt").unlink()
    with pytest.raises(UsageError, match=r"no checkpoint .* is here; if the run ended before its first one, delete"):
        load(place)


def test_a_dry_run_is_for_the_command_line(place):
    with pytest.raises(UsageError, match="dry=true trains nothing"):
        train(compose(*TINY, "dry=true"), run_dir=place / "dry")
    assert not (place / "dry").exists()


def test_a_run_that_fails_says_so(place):
    words = ("env.id=tests.pipelines.faulty:Faulty-v0", "env.keep=null", "env.kwargs.flag=fault", "env.kwargs.at=40")
    (place / "fault").touch()
    settings = compose(*TINY, *words)
    with pytest.raises(RunFailed, match="the motor is on fire"):
        train(settings, run_dir="run", bar=False)
    assert Result(place / "run").summary["status"] == "failed"


def test_a_stop_from_the_keyboard_is_one(place, monkeypatch):
    def stopped(*_, **__):
        raise SystemExit(130)

    monkeypatch.setattr("pipelines.training.api.start_or_resume", stopped)
    with pytest.raises(KeyboardInterrupt, match=r"continue by `python -m pipelines.resume run=.*run`"):
        train(compose(*TINY), run_dir="run")


def test_an_evaluation_is_that_of_the_command(place, capsys):
    saved_kind(place, "lstm")
    found = api.evaluate(place, episodes=5, seed=2)
    assert not (place / "evaluation.json").exists()
    assert main([f"run={place}", "episodes=5", "seed=2"]) == 0
    assert json.loads((place / "evaluation.json").read_text()) == found
