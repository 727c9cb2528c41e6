"""Section about whole training of DQN: many environments at once against one at a time."""

from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec

from benchmarks.acting import building
from benchmarks.dqn_solving import solving
from benchmarks.measure import Missing, Pace, Table, Times, interleave, number, target
from benchmarks.subjects import Trainer, process_of, run_of
from benchmarks.yardsticks import single
from pipelines.config.schema import RunConfig
from pipelines.training.build import Parts

LATE = ("exploration.anneal_frames=1", "warmup_frames=0")  # act and learn as after the warm-up, with the last ε
HEADER = ["side", "environments", "learned steps", "frames/s", "ours is faster (min–max)"]
Call = Callable[[], object]


def dqn(pace: Pace) -> Iterator[Table | Missing]:
    """DQN with many environments against one at a time, as others do it: frames/s, and seconds until it is solved."""
    theirs = find_spec("stable_baselines3") is not None
    if not theirs:
        yield Missing(
            single.STABLE_BASELINES,
            f"{single.STABLE_BASELINES} is not installed (pip install stable-baselines3), nor needed elsewhere: "
            "no rows.",
        )
    yield speed(pace, theirs=theirs)
    yield solving(pace, theirs=theirs)


def speed(pace: Pace, *, theirs: bool) -> Table:
    """Compare frames/s; `theirs`: with Stable-Baselines3."""
    run, one_step, late = (run_of(single.EXP, *words) for words in ((), single.ONE_STEP, (*single.ONE_STEP, *LATE)))
    frames = run.collector.frames_per_batch
    with (
        process_of(run),
        building(run) as parts,
        building(one_step) as parts_one_step,
        closing(single.SingleEnvironment(late)) as alone,
    ):
        sides: dict[str, Call] = {
            single.OURS: training(parts),
            single.OURS_ONE_STEP: training(parts_one_step),
            single.SINGLE: lambda: alone.train(frames),
        }
        if theirs:
            model = single.stable_baselines(late)
            sides[single.STABLE_BASELINES] = lambda: model.learn(frames, reset_num_timesteps=False)
        times = interleave(sides, pace)
    return Table(
        "Whole training of DQN against one environment at a time",
        [*HEADER, "ours, one-step, is faster (min–max)", "target"],
        [speed_row(side, run if side == single.OURS else one_step, times) for side in sides],
        notes=[
            f"All: the network of +exp={single.EXP}, {single.settings_of(run).ratio:g} learned steps per collected "
            "step, its last ε, PyTorch's own number of threads.",
            "One-step, and the single environment, a plain loop with a ring of NumPy arrays: "
            f"{' '.join(single.ONE_STEP)}.",
        ],
    )


def speed_row(side: str, run: RunConfig, times: Times) -> list[str]:
    """One side's cells; `run` has its batches."""
    compared, num_envs, frames = ["–"] * 3, run.collector.num_envs, run.collector.frames_per_batch
    if side not in (single.OURS, single.OURS_ONE_STEP):
        ratio, num_envs = times.speed(single.OURS, side), 1
        compared = [str(ratio), str(times.speed(single.OURS_ONE_STEP, side)), target(ratio, 5)]
    learned = f"{single.steps_per_update(run)} every {number(single.frames_per_update(run))} frames"
    return [side, str(num_envs), learned, number(frames / times.median(side)), *compared]


def training(parts: Parts) -> Call:
    """Return: collect one batch, store it, learn as often as the replay's ratio asks, push the weights."""
    parts.exploration.anneal(parts.run.total_frames)
    batches, trainer = iter(parts.collection), Trainer(parts)
    return lambda: trainer.take(next(batches))
