"""Seconds of DQN's training until CartPole is solved: many environments at once against one at a time."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measure import Pace, Table, Times, number, target
from benchmarks.subjects import process_of, run_of
from benchmarks.yardsticks import single
from modules.plots.runs import Table as Columns
from modules.plots.runs import read_table
from modules.seeding import seed_for
from pipelines.api import compose, train
from pipelines.config.schema import RunConfig
from pipelines.training.counters import reached_goal

SEEDS = (0, 1, 2)
BRIEFLY = ("eval_episodes=20",)  # the preset's 50 would take minutes in one environment at a time
QUICK = (  # reaches nothing
    "stop_at_score=501",
    "total_frames=2_000",
    "warmup_frames=500",
    "eval_every=2_000",
    "log_every=2_000",
    "eval_episodes=2",
    "exploration.anneal_frames=1_000",
)
AT_LEAST = 5.0


@dataclass(frozen=True)
class Outcome:
    """One side's training with one seed: env frames, seconds without evaluations, and whether it got to the score."""

    frames: int
    seconds: float
    solved: bool


def solving(pace: Pace, *, theirs: bool) -> Table:
    """Train all sides in turn, seed by seed; `theirs`: with Stable-Baselines3."""
    seeds, words = (SEEDS[:1], QUICK) if pace.quick else (SEEDS, BRIEFLY)
    sides: dict[str, Callable[[Sequence[str]], Outcome]] = {
        single.OURS: solve_ours,
        single.OURS_ONE_STEP: lambda of_seed: solve_ours((*single.ONE_STEP, *of_seed)),
        single.SINGLE: lambda of_seed: solve_single(run_of(single.EXP, *single.ONE_STEP, *of_seed)),
        single.SINGLE_CLEANRL: lambda of_seed: solve_single(
            run_of(single.EXP, *single.ONE_STEP, *single.CLEANRL, *of_seed)
        ),
    }
    if theirs:
        sides[single.STABLE_BASELINES] = lambda of_seed: solve_stable_baselines(
            run_of(single.EXP, *single.ONE_STEP, *single.SB3, *of_seed)
        )
    outcomes: dict[str, list[Outcome]] = {side: [] for side in sides}
    for seed in seeds:
        for side, solve in sides.items():
            outcomes[side].append(solve((*words, f"seed={seed}")))
    return Table(
        "Wall time of DQN's training until CartPole is solved",
        ["side", "frames of each seed", "seconds of each seed", "ours is faster: median (min–max)", "target"],
        [row(side, outcomes) for side in outcomes],
        notes=notes(run_of(single.EXP, *words), seeds),
    )


def solve_ours(words: Sequence[str]) -> Outcome:
    """Train as `python -m pipelines.train` does, with these settings."""
    settings = compose(f"+exp={single.EXP}", *words, "logger=csv", "video=false")
    with TemporaryDirectory(prefix="recall_benchmark_") as directory:
        summary = train(settings, run_dir=directory, bar=False).summary
        seconds = training_seconds(read_table(Path(directory) / "timing.csv"))
    solved = reached_goal(run_of(single.EXP, *words), {"eval/return_mean": summary["score"]})
    return Outcome(summary["frames"], seconds, bool(solved))


def training_seconds(timing: Columns) -> float:
    """All that the loop took except for evaluations, whether or not each log interval has one, from timing.csv."""
    interval = np.diff(timing["frames"], prepend=0) / timing["perf/frames_per_s"]
    return float((interval * (1 - timing["perf/eval_share"])).sum())


def solve_single(run: RunConfig) -> Outcome:
    """Train the plain loop."""
    with (
        process_of(run),
        closing(single.SingleEnvironment(run)) as alone,
        closing(Referee(run, alone.greedy)) as referee,
    ):
        referee.start()
        while referee.goes_on(alone.frames):
            alone.train(min(run.eval_every, run.total_frames - alone.frames))
        return referee.outcome


def solve_stable_baselines(run: RunConfig) -> Outcome:
    """Train Stable-Baselines3's DQN, in one go, so that its ε falls as ours."""
    with process_of(run):
        model = single.stable_baselines(run)
        with closing(Referee(run, lambda sight: int(model.predict(sight, deterministic=True)[0]))) as referee:
            referee.start()
            model.learn(run.total_frames, callback=lambda *_: referee.goes_on(model.num_timesteps))
            return referee.outcome


class Referee:
    """Times one side's training, evaluates it when that is due, and stops its own clock for as long.

    Args:
        run: says when, how often and until which score.
        best: the side's greedy action for an observation, now.
    """

    def __init__(self, run: RunConfig, best: Callable[[np.ndarray], int]) -> None:
        self.run, self.best, self.env = run, best, single.environment(run)
        self.outcome = Outcome(0, 0.0, solved=False)
        self._since = 0.0

    def start(self) -> None:
        """Take the time: training begins."""
        self._since = time.perf_counter()

    def goes_on(self, frames: int) -> bool:
        """Tell after frame `frames` whether training must continue; cheap where no evaluation is due."""
        run = self.run
        if frames == 0 or (frames % run.eval_every and frames < run.total_frames):
            return True
        seconds = self.outcome.seconds + time.perf_counter() - self._since
        solved = bool(reached_goal(run, {"eval/return_mean": self.greedy_return(frames)}))
        self.outcome = Outcome(frames, seconds, solved)
        self.start()
        return not solved and frames < run.total_frames

    def greedy_return(self, frames: int) -> float:
        """Mean undiscounted return of an evaluation's episodes."""
        sight, _ = self.env.reset(seed=seed_for(self.run.seed, "evaluation", frames))
        total, episodes = 0.0, 0
        while episodes < self.run.eval_episodes:
            sight, reward, terminated, truncated, _ = self.env.step(self.best(sight))
            total += float(reward)
            if terminated or truncated:
                episodes += 1
                sight, _ = self.env.reset()
        return total / episodes

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


def row(side: str, outcomes: Mapping[str, Sequence[Outcome]]) -> list[str]:
    """One side's cells: seconds that did not suffice are marked as such, and the ratio as a lower bound then."""
    ours, here = outcomes[single.OURS], outcomes[side]
    frames = ", ".join(number(outcome.frames) for outcome in here)
    seconds = ", ".join(f"{'' if outcome.solved else '> '}{number(outcome.seconds)}" for outcome in here)
    ratio, aim = "–", "–"
    if side != single.OURS and all(outcome.solved for outcome in ours):
        of_side = {name: [outcome.seconds for outcome in outcomes[name]] for name in (single.OURS, side)}
        faster = Times(of_side).speed(single.OURS, side)
        known = all(outcome.solved for outcome in here)
        ratio = f"{'' if known else '≥ '}{faster}"
        if side != single.OURS_ONE_STEP:  # a bound below the target leaves it open
            aim = target(faster, AT_LEAST) if known or faster.median >= AT_LEAST else f"≥ {AT_LEAST:g}: open"
    return [side, frames, seconds, ratio, aim]


def notes(run: RunConfig, seeds: Sequence[int]) -> list[str]:
    """Say what is measured, what is equal on all sides and what is not."""
    return [
        f"Seeds: {', '.join(map(str, seeds))}. Until {run.eval_episodes} greedy episodes have a mean return of "
        f"{run.stop_at_score:g}, at most {number(run.total_frames)} frames; evaluated every {number(run.eval_every)}, "
        "ours at the end of the batch in which they are full.",
        f"Ours: Retrace over at most {single.settings_of(run).length} steps of rescaled values, which the other sides "
        "do not have; one-step: ours without it.",
        "Seconds of acting and learning, without evaluations and building; ours with its checkpoints and logs.",
        "A side that did not get there has > before its seconds; the ratio is then at least (≥) what is shown.",
        "So few episodes let a policy pass now and then that is worse, on each side.",
        "Equal: network, learned steps per frame, ε's line over the frames, warm-up, capacity, PyTorch's own number of "
        "threads.",
        f"All but '{single.OURS}', whose settings are the preset's: {' '.join(single.ONE_STEP)}; so with one-step "
        "targets, a target network that follows softly, and evaluations of averaged weights.",
        f"{single.SINGLE_CLEANRL}: besides {' '.join(single.CLEANRL)}; so with its squared errors, its copied target "
        "and evaluations of the newest weights. Not its own: learning rate (2.5e-4 there), capacity, warm-up and ε.",
        f"{single.STABLE_BASELINES}: besides {' '.join(single.SB3)}; errors clipped at 1, gradients at 10, "
        "a target that is copied and on average as old as the single environment's, evaluations of the newest weights; "
        "it acts at random in its warm-up, whatever ε is.",
        "Tuned on seeds from 20 on: the preset most (loss, batch, learning rate, target, average, warm-up, ε's line), "
        "the single environment's learning rate and target, CleanRL's learning rate (1e-3 or 2.5e-4), both with two "
        f"warm-ups and lines of ε, {single.STABLE_BASELINES}' learning rate.",
    ]
