"""What only the loop can get wrong about priorities and staleness: whether it passes them on."""

import json

from modules import checkpoint
from modules.learner.learner import Learner
from modules.replay.sequence import SequenceReplay
from tests.pipelines.launch import run

WORDS = ("+exp=r2d2_memory_len", "+debug=smoke", "video=false", "total_frames=400", "save_every=200", "env.length=10")
ROWS = ("replay.length=6", "replay.overlap=4", "replay.burn_in=1", "replay.ratio=2", "hydra.run.dir=run")
ANNEALED = ("replay.importance=0.1", "replay.importance_end=0.9", "replay.importance_frames=200")


def tell() -> None:
    """Write down with which exponent rows are drawn, and over which stride staleness is measured."""
    sample, staleness = SequenceReplay.sample, Learner.staleness

    def sampled(replay):
        note({"importance": replay._importance})
        return sample(replay)

    def measured(learner, history, stride):
        note({"stride": stride})
        return staleness(learner, history, stride)

    SequenceReplay.sample, Learner.staleness = sampled, measured  # type: ignore[method-assign]


def note(fact: dict) -> None:
    with open("told.jsonl", "a") as file:
        file.write(json.dumps(fact) + "\n")


def test_the_loop_writes_priorities_back_anneals_importance_and_measures_over_the_stride(tmp_path):
    ended = run("pipelines.train", *WORDS, *ROWS, *ANNEALED, cwd=tmp_path, before=tell)
    assert ended.code == 0, ended.err
    masses = checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))["replay"]["sampler"]["masses"]
    assert (masses != 1).float().mean() > 0.5  # what a row has when it is new
    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    exponents = [fact["importance"] for fact in told if "importance" in fact]
    assert exponents == sorted(exponents)
    assert exponents[0] < 0.8
    assert exponents[-1] == 0.9
    assert {fact["stride"] for fact in told if "stride" in fact} == {2}
