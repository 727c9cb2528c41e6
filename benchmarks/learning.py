"""Sections about the learner: against plain PyTorch, against TorchRL's loss, its growth, the tutorial."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tensordict.nn import TensorDictSequential
from torchrl.data import Categorical, LazyMemmapStorage, SliceSampler, TensorDictReplayBuffer
from torchrl.modules import QValueModule
from torchrl.objectives import DQNLoss, SoftUpdate, ValueEstimators

from benchmarks.measure import Missing, Pace, Table, interleave, number, target
from benchmarks.subjects import (
    PIXELS,
    STATE,
    TUTORIAL,
    exists,
    learning,
    open_replay,
    process_of,
    random_rows,
    random_stream,
    run_of,
    set_apart,
)
from benchmarks.yardsticks.bare import BareLearner, refuse_other_maths
from modules import keys
from modules.losses.q import QLossSpec
from modules.networks.network import RecurrentNetwork
from modules.networks.recurrent import GruSpec, LstmSpec
from modules.spec import UsageError
from pipelines.config.schema import RunConfig

LENGTHS, BATCHES, SIZES = (10, 20, 40, 80), (8, 16, 32, 64, 128), (32, 64, 128, 256, 512)


def shape(run: RunConfig) -> str:
    """Describe a batch."""
    sight = "×".join(map(str, run.spaces.observation_shape))
    burn_in = f"{run.replay.burn_in}+" if run.replay.burn_in else ""
    return f"{run.replay.batch_rows} rows of {burn_in}{run.replay.length} steps, observations {sight}"


def learner(pace: Pace) -> Iterator[Table]:
    """Learner steps/s against a bare PyTorch loop of the same network and maths."""
    rows = [learner_row(run_of(exp), pace.part(2)) for exp in (PIXELS, STATE)]
    yield Table(
        "Learner against a bare PyTorch loop",
        ["exp", "batch", "ours [updates/s]", "bare [updates/s]", "ratio (min–max)", "target"],
        rows,
        notes=[
            "An update: loss, backward, clip, fused Adam, soft target; the same batch again and again, no sampling.",
            "Before timing, both sides took three updates from the same weights, with equal losses.",
            "Ours also measures |δ|, mean Q and target and refuses what is not finite.",
        ],
        names=2,
    )


def learner_row(run: RunConfig, pace: Pace) -> list[str]:
    """Compare the learners of one run."""
    with process_of(run):
        batch, ours = random_rows(run), learning(run)
        bare, plain = BareLearner(run, ours.network, set_apart(ours)), dict(batch.items())
        refuse_other_maths(ours.learner, bare, batch)
        sides = {"ours": lambda: ours.learner.step(batch), "bare": lambda: bare.step(plain)}
        times = interleave(sides, pace)
    ratio = times.speed("ours", "bare")
    speeds = [number(1 / times.median(side)) for side in sides]
    return [run.name, shape(run), *speeds, str(ratio), target(ratio, 0.9)]


@contextmanager
def their_learner(run: RunConfig, capacity: int) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Make TorchRL's loss and slice replay as its documentation does; yield an update, flat and on rows."""
    loss_settings, optim, rows = run.loss, run.optim, (run.replay.batch_rows, run.replay.length)
    if not isinstance(loss_settings, QLossSpec):
        raise UsageError(f"{run.name}: DQNLoss needs the settings of loss=q to compare with")
    network = run.network.build(run.spaces).to(run.torch_device)
    if not isinstance(network, RecurrentNetwork):
        raise UsageError(f"{run.name}: DQNLoss compares with one network, not with network.streams=two")
    choose = QValueModule(action_space="categorical", spec=Categorical(run.spaces.n_actions))
    loss = DQNLoss(
        TensorDictSequential([*network.tensordict_module(), choose]),
        action_space="categorical",
        loss_function="smooth_l1",
        double_dqn=loss_settings.double,
        delay_value=True,
    )
    loss.make_value_estimator(ValueEstimators.TD0, gamma=loss_settings.gamma)
    parameters = [p for p in loss.parameters() if p.requires_grad]
    optimiser, soft = optim.build(parameters), SoftUpdate(loss, tau=run.target.tau)
    with TemporaryDirectory(prefix="recall_benchmark_") as directory:
        replay = TensorDictReplayBuffer(
            storage=LazyMemmapStorage(capacity, scratch_dir=Path(directory) / "slices"),
            sampler=SliceSampler(slice_len=rows[1], end_key=("next", keys.DONE), cache_values=True),
            batch_size=rows[0] * rows[1],
        )

        def update(*shape: int) -> None:
            batch = replay.sample()
            out = loss((batch.reshape(shape) if shape else batch).to(run.torch_device))
            optimiser.zero_grad()
            out["loss"].backward()
            torch.nn.utils.clip_grad_norm_(parameters, optim.max_grad_norm)
            optimiser.step()
            soft.step()

        episode, envs = 2 * rows[1], max(1, capacity // (2 * rows[1]))
        replay.extend(random_stream(run, envs, episode, episode=episode).reshape(-1))
        yield update, lambda: update(*rows)


def dqnloss(pace: Pace) -> Iterator[Table]:
    """Learner steps/s against TorchRL's DQNLoss and SliceSampler, sampling included."""
    rows = [row for exp in (PIXELS, STATE) for row in dqnloss_rows(run_of(exp), pace.part(2))]
    yield Table(
        "Learner against TorchRL's DQNLoss with SliceSampler",
        ["exp", "DQNLoss on", "ours [updates/s]", "DQNLoss [updates/s]", "ratio (min–max)", "target"],
        rows,
        notes=[
            "Same network, batch, clip, optimiser and target update; sampled from a memory map on both sides.",
            "Flat: the sample as it comes, as in TorchRL's documentation. Rows: the same, reshaped to [B, L].",
            "DQNLoss has one-step targets from a zero recurrent state, ours n-step targets from the stored one.",
            "TorchRL's sampler keeps episode boundaries (cache_values), as if nothing were written meanwhile.",
        ],
        names=2,
    )


def dqnloss_rows(run: RunConfig, pace: Pace) -> list[list[str]]:
    """Compare with both layouts of TorchRL's batch."""
    capacity = 4 * run.replay.batch_rows * run.replay.length
    with process_of(run), open_replay(run) as replay, their_learner(run, capacity) as (flat, on_rows):
        episode, ours = 2 * run.replay.length, learning(run).learner
        replay.extend(random_stream(run, capacity // episode, episode, episode=episode))
        sides = {"ours": lambda: ours.step(replay.sample().to(run.torch_device)), "flat": flat, "rows": on_rows}
        times = interleave(sides, pace)
    rows = []
    for layout, aim in (("flat", True), ("rows", False)):
        ratio = times.speed("ours", layout)
        speeds = [number(1 / times.median(side)) for side in ("ours", layout)]
        rows.append([run.name, layout, *speeds, str(ratio), target(ratio, 2) if aim else "–"])
    return rows


def scaling(pace: Pace) -> Iterator[Table]:
    """Update time against row length, batch rows and hidden size."""
    for run in (run_of(PIXELS), run_of(STATE)):
        variants = {
            "L, steps of a row": {n: with_replay(run, length=n) for n in LENGTHS},
            "B, rows of a batch": {n: with_replay(run, batch_rows=n) for n in BATCHES},
            "H, hidden size": {n: with_hidden(run, n) for n in SIZES},
        }
        rows = [
            [name, *cells]
            for name, runs in variants.items()
            for cells in growth(dict(list(runs.items())[::2]) if pace.quick else runs, pace.part(6))
        ]
        yield Table(
            f"Growth of the update, {run.name}",
            ["varied", "value", "× first", "update [ms]", "× first (min–max)"],
            rows,
            notes=[f"Otherwise as in the experiment: {shape(run)}, {run.network.memory}."],
        )


def growth(runs: Mapping[int, RunConfig], pace: Pace) -> Iterator[list[str]]:
    """Time one update of each of `runs`, which differ in one number, and compare with the first."""
    first = next(iter(runs))
    with process_of(runs[first]):
        times = interleave({str(n): update_of(run) for n, run in runs.items()}, pace)
    for n in runs:
        ratio = times.speed(str(first), str(n))
        yield [str(n), number(n / first), number(1e3 * times.median(str(n))), str(ratio)]


def with_replay(run: RunConfig, **changes: int) -> RunConfig:
    """Change the replay's settings."""
    return replace(run, replay=replace(run.replay, **changes))


def with_hidden(run: RunConfig, size: int) -> RunConfig:
    """Change the size of the memory."""
    memory = run.network.memory
    if not isinstance(memory, LstmSpec | GruSpec):
        raise UsageError(f"{run.name}: {memory.name} has no hidden size to vary")
    return replace(run, network=replace(run.network, memory=replace(memory, hidden_size=size)))


def update_of(run: RunConfig) -> Callable[[], object]:
    """Return one update of a run's learner on one batch."""
    batch, ours = random_rows(run), learning(run).learner
    return lambda: ours.step(batch)


def tutorial(pace: Pace) -> Iterator[Table | Missing]:
    """Learned steps/s against the literal settings of TorchRL's recurrent DQN tutorial."""
    title = "Learner against the tutorial's settings"
    if not exists(TUTORIAL):
        yield Missing(title, f"there is no conf/exp/{TUTORIAL}.yaml.")
        return
    runs = {exp: run_of(exp) for exp in (PIXELS, TUTORIAL)}
    with process_of(runs[PIXELS]):
        times = interleave({exp: update_of(run) for exp, run in runs.items()}, pace)
    steps = {exp: run.replay.batch_rows * run.replay.length for exp, run in runs.items()}
    ratio = times.speed(PIXELS, TUTORIAL)
    rows = []
    for exp, run in runs.items():
        seconds = times.median(exp)
        rows.append([exp, shape(run), number(1e3 * seconds), number(steps[exp] / seconds)])
    factor = steps[PIXELS] / steps[TUTORIAL]
    gain = f"{number(ratio.median * factor)} ({number(ratio.low * factor)}–{number(ratio.high * factor)})"
    yield Table(
        title,
        ["exp", "batch", "update [ms]", "learned steps/s"],
        rows,
        notes=[f"Learned steps/s of {PIXELS} over those of {TUTORIAL}: {gain}."],
        names=2,
    )
