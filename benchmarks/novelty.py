"""Section about NGU and Agent57: the intrinsic reward while acting, two networks while learning, and memory."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import torch
from torch import Tensor

from benchmarks.learning import learning, shape
from benchmarks.measure import Missing, Pace, Table, interleave, number
from benchmarks.subjects import process_of, random_rows, run_of
from modules.collect import Actor, SyncCollection
from modules.exploration import ExplorationContext
from modules.intrinsic import IntrinsicContext, IntrinsicReward, NguSpec
from modules.intrinsic.episodic_memory import EpisodicMemory
from modules.intrinsic.ngu import NoveltyReward
from modules.meta_controller import MetaContext
from modules.networks.network import RecurrentNetwork
from modules.networks.tensordict_modules import Policy
from modules.networks.two_streams import TwoStreamNetwork
from modules.seeding import seed_for
from modules.spec import UsageError
from pipelines.agent.agent_env import CPU, AgentEnv
from pipelines.config.hints import CONF
from pipelines.config.schema import RunConfig

AGENT57, CONTROL = "agent57_corridor", "r2d2_corridor"
GYM = "agent57_mountain_car"
COUNTS, SIZES = (1, 16, 64), (500, 5_000, 30_000)  # environments; states that each remembers
AIM, LARGEST_SHARE = (64, 500), 0.3
R2D2_STEPS = 2.2  # two networks, and a tenth for what joins them
NO_END = {  # of an episode, so that no memory is emptied
    AGENT57: ("env.horizon=1_000_000", "replay.length=40"),
    GYM: ("+env.kwargs.max_episode_steps=1_000_000", "replay.length=40"),
}
PROC = Path("/proc")
MB = 1e6
Network = RecurrentNetwork | TwoStreamNetwork


def novelty(pace: Pace) -> Iterator[Table | Missing]:
    """The intrinsic reward's share of acting, Agent57's learner against 2.2 steps of R2D2's, and memory."""
    yield acting(pace.part(2))
    yield learner(pace.part(2))
    yield peak(pace)
    yield held()


class Nothing(IntrinsicReward):
    """Finds nothing new."""

    def __init__(self, num_envs: int) -> None:
        self._zero = torch.zeros(num_envs)

    def begin(self, which: Tensor, observation: Tensor) -> None:
        """A bonus that remembers nothing."""

    def reward(self, observation: Tensor) -> Tensor:
        """Give the reward 0 to each environment."""
        del observation
        return self._zero.clone()


def acting(pace: Pace) -> Table:
    """Collect with the intrinsic reward and with one of 0."""
    counts, sizes = (COUNTS[::2], SIZES[:2]) if pace.quick else (COUNTS, SIZES)
    part = pace.part(len(counts) + 1)
    rows = [row for n in counts for row in acting_rows(AGENT57, n, sizes, part)]
    rows += acting_rows(GYM, AIM[0], AIM[1:], part)
    run = run_of(AGENT57)
    parts = f"{run.network.torso}; {run.network.memory}; {run.network.head}"
    return Table(
        "The intrinsic reward's share of an acting step",
        [
            "preset",
            "environments",
            "remembered states",
            "without [ms]",
            "with [ms]",
            "cost / without (min–max)",
            "share of the step (min–max)",
            "target",
        ],
        rows,
        notes=[
            "A step of all environments at once, through TorchRL's Collector. Without: the environments (a batched",
            f"corridor, a few calls for all of them; {GYM}: Gymnasium's MountainCar, one after the other),",
            "the arm, the previous step, recurrent states, two networks and their ε-greedy choice, and an intrinsic",
            f"reward that is always 0. Each network: {parts}.",
            "The cost is all that the real one adds: each environment's own embedding, its nearest neighbours, the",
            "running mean of distances, α of random distillation with its statistics, and their means for the log.",
            "The share is that of the cost in a step with it, which the target is about.",
            "Memories are full as each batch begins, of random states except for the newest; episodes as good as never",
            "end. Learning (embedding, distillation) is not in it; nor is an episode's start: a copy of the embedding,",
            "a memory to empty, and a first state to remember.",
        ],
        names=1,
    )


def acting_rows(preset: str, num_envs: int, sizes: Sequence[int], pace: Pace) -> Iterator[list[str]]:
    """Compare memories of all `sizes` with none, for one preset and number of environments."""
    changes = (f"collector.num_envs={num_envs}", *NO_END[preset])
    runs = {size: run_of(preset, f"intrinsic.memory.capacity={size}", *changes) for size in sizes}
    run = runs[sizes[0]]
    with process_of(run), ExitStack() as stack:
        network = run.network.build(run.spaces).requires_grad_(False)
        sides = {"without": collecting(run, network, Nothing(num_envs), stack)}
        for size, of_size in runs.items():
            reward = of_size.intrinsic.build(IntrinsicContext(spaces=run.spaces, device=CPU)).acting(num_envs)
            sides[str(size)] = always_full(memory_of(reward), collecting(of_size, network, reward, stack))
        times = interleave(sides, pace)
    for size in sizes:
        ratio = times.speed("without", str(size))
        step = [number(1e3 * times.median(side) / run.collector.steps) for side in ("without", str(size))]
        slower = ratio.median, ratio.low, ratio.high
        cost, share = [value - 1 for value in slower], [1 - 1 / value for value in slower]
        aim = at_most(share[0], LARGEST_SHARE) if (num_envs, size) == AIM else "–"
        yield [preset, str(num_envs), f"{size:,}".replace(",", " "), *step, percent(cost), percent(share), aim]


def collecting(
    run: RunConfig, network: Network, intrinsic_reward: IntrinsicReward, stack: ExitStack
) -> Callable[[], object]:
    """Return the collection of one batch with this bonus; the first has been collected, so its episodes run."""
    n = run.collector.num_envs
    exploration = run.exploration.build(ExplorationContext.all_of(n))
    policy = Policy(network, exploration.choose, exploration.probability)
    meta = run.meta.build(MetaContext.all_of(n, seed=seed_for(run.seed, "meta")))
    agent_env = AgentEnv(run=run, intrinsic_reward=intrinsic_reward, meta=meta, max_steps=None)
    actor = Actor(env=partial(agent_env.build, n), policy=policy, networks=[network], anneal=exploration.anneal)
    collection = SyncCollection(run.collector, actor)
    stack.callback(collection.close)
    collection.restart(seed_for(run.seed, "env"))
    batches = iter(collection)
    next(batches)
    return lambda: next(batches)


def memory_of(intrinsic_reward: IntrinsicReward) -> EpisodicMemory:
    """The episodic memory of a bonus that has one."""
    assert isinstance(intrinsic_reward, NoveltyReward)
    return intrinsic_reward._memory


def always_full(memory: EpisodicMemory, collect: Callable[[], object]) -> Callable[[], object]:
    """Make `collect` begin with memories full of states, random ones at first."""
    held, n = memory.settings.capacity, memory.num_envs
    memory._states.normal_()
    memory.load_state_dict(
        {"mean": torch.full((n,), float(memory.features)), "seen": torch.full((n,), held * memory.settings.k)}
    )

    def call() -> object:
        memory._written.fill(held)
        return collect()

    return call


def percent(shares: Sequence[float]) -> str:
    """Write median, minimum and maximum of a share."""
    median, low, high = (f"{100 * share:.0f}" for share in shares)
    return f"{median} % ({low}–{high})"


def at_most(value: float, most: float) -> str:
    """Compare with what the project asks for."""
    return f"≤ {most:g}: {'met' if value <= most else 'missed'}"


def control(run: RunConfig) -> RunConfig:
    """R2D2 with the network sizes, the batch and the row length of `run`."""
    theirs = run_of(CONTROL)
    sizes = {name: getattr(run.replay, name) for name in ("batch_rows", "length", "burn_in")}
    network = replace(run.network, streams="one", inputs=theirs.network.inputs)
    return replace(theirs, replay=replace(theirs.replay, **sizes), network=network)


def learner(pace: Pace) -> Table:
    """Learn from one batch again and again."""
    run = run_of(AGENT57)
    r2d2 = control(run)
    with process_of(run):
        rows, ours, theirs = random_rows(run), learning(run).learner, learning(r2d2).learner
        plain, intrinsic_model = random_rows(r2d2), run.intrinsic.build(IntrinsicContext(spaces=run.spaces, device=CPU))
        sides = {
            "R2D2": lambda: theirs.step(plain),
            "Agent57": lambda: ours.step(rows),
            "its embedding and distillation": lambda: intrinsic_model.step(rows),
        }
        times = interleave(sides, pace)
    table = []
    for name in sides:
        ratio = times.speed("R2D2", name)
        aim = at_most(ratio.median / R2D2_STEPS, 1) if name == "Agent57" else "–"
        shares = [number(value / R2D2_STEPS) for value in (ratio.median, ratio.low, ratio.high)]
        over = f"{shares[0]} ({shares[1]}–{shares[2]})"
        table.append([name, number(1e3 * times.median(name)), over, aim])
    return Table(
        f"A learner step of Agent57 against {R2D2_STEPS} of R2D2",
        ["step", "ms", f"over {R2D2_STEPS} steps of R2D2 (min–max)", "target"],
        table,
        notes=[
            f"Both: {shape(run)}; {run.network.memory}; {run.network.head}.",
            "R2D2: n-step double Q of one network. Agent57: Retrace of two, with clip, Adam and target of both.",
            "Embedding and distillation learn once per update besides; the target is for the values' losses alone.",
        ],
    )


@dataclass(frozen=True)
class Peak:
    """The most that a process had in memory, in bytes: all of it, and what no file stands behind."""

    resident: float
    anonymous: float


def peak_of(words: Sequence[str]) -> Peak:
    """Run a command to its end and watch it.

    Raises:
        RuntimeError: it failed.
    """
    resident = anonymous = 0.0
    with TemporaryFile("w+") as said:
        process = subprocess.Popen(words, cwd=Path(CONF).parent, stdout=subprocess.DEVNULL, stderr=said)
        while process.poll() is None:
            lines = (PROC / str(process.pid) / "status").read_text().splitlines()
            kib = {line.split(":")[0]: float(line.split()[1]) for line in lines if line.endswith(" kB")}
            resident = kib.get("VmHWM", resident / 1024) * 1024
            anonymous = max(anonymous, kib.get("RssAnon", 0) * 1024)
            time.sleep(0.02)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}: {said.read()[-500:]}")
    return Peak(resident, anonymous)


def training(exp: str, frames: int) -> list[str]:
    """Settings of a short training."""
    return [f"+exp={exp}", f"total_frames={frames}", "logger=none", "video=false"]


def peak(pace: Pace) -> Table | Missing:
    """Train in a process of its own, and R2D2 beside it."""
    title = "Peak memory of a training"
    if not (PROC / "self/status").exists():
        return Missing(title, "the system has no /proc.")
    frames = 3_000 if pace.quick else 20_000
    rows = []
    for exp in (AGENT57,) if pace.quick else (AGENT57, CONTROL):
        with TemporaryDirectory(prefix="recall_benchmark_") as directory:
            words = [sys.executable, "-m", "pipelines.train", *training(exp, frames), f"hydra.run.dir={directory}"]
            found = peak_of(words)
        rows.append([exp, number(frames), number(found.resident / MB), number(found.anonymous / MB)])
    return Table(
        title,
        ["exp", "frames", "resident [MB]", "of it anonymous [MB]"],
        rows,
        notes=[
            "Resident: the most at any time, with PyTorch's libraries and the replay's pages that are mapped.",
            "Anonymous: what the process allocated itself. The replay is on disk, and its pages leave when others",
            "need the room.",
        ],
    )


def held() -> Table:
    """Work out what episodic memories take when they are full."""
    small, large = run_of(AGENT57), run_of(AGENT57, "intrinsic=ngu", f"collector.num_envs={COUNTS[-1]}")
    return Table(
        "Bytes of full episodic memories",
        ["of", "environments", "states", "features", "memories [MB]", "least [MB]", "embeddings [MB]"],
        [held_row("the preset", small), held_row("intrinsic=ngu", large)],
        notes=[
            "Least: 4 bytes for each feature of each state. Memory is taken only as the states come.",
            "Embeddings: each environment's own copy of the network, frozen while its episode lasts.",
        ],
    )


def held_row(name: str, run: RunConfig) -> list[str]:
    """Sizes of one run's memories."""
    if not isinstance(run.intrinsic, NguSpec):
        raise UsageError(f"{run.name}: there is no episodic memory to measure")
    n, settings, features = run.collector.num_envs, run.intrinsic.memory, run.intrinsic.embedding.features
    states = EpisodicMemory(settings, n, features, CPU)._states.nbytes
    least = 4 * n * settings.capacity * features
    network = run.intrinsic.embedding.build(IntrinsicContext(spaces=run.spaces, device=CPU)).network
    copies = n * sum(parameter.nbytes for parameter in network.parameters())
    return [name, str(n), number(settings.capacity), str(features), *(number(x / MB) for x in (states, least, copies))]
