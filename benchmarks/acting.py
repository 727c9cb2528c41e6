"""Section about acting: against a bare loop, and where the time of a step goes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from gymnasium.vector import VectorEnv, VectorWrapper
from torch import Tensor
from torchrl.envs import EnvBase, TransformedEnv
from torchrl.envs.utils import ExplorationType, set_exploration_type

from benchmarks.measure import Pace, Table, Times, interleave, number, target
from benchmarks.subjects import PIXELS, STATE, process_of, run_of
from benchmarks.yardsticks.bare_actor import BareActor
from modules import keys
from modules.envs.base import EnvContext
from modules.envs.pixels import Pixels
from modules.seeding import seed_for
from pipelines.config.schema import RunConfig
from pipelines.training.build import Parts, build

STATE_ENVS = 64
Call = Callable[[], object]


def acting(pace: Pace) -> Iterator[Table]:
    """Frames/s against a bare gymnasium and PyTorch loop, and where the rest goes."""
    rows, layers = [], []
    many = f"collector.num_envs={STATE_ENVS}"
    long = ("env.id=MountainCar-v0", "env.keep=[0]", "name=mountain_car", many)  # no episode ends before step 200
    cases = ((run_of(PIXELS), 0.8), (run_of(STATE, many), 0.5), (run_of(STATE, *long), 0.5))
    for run, at_least in cases:
        with process_of(run):
            times, episode = measure(run, pace.part(len(cases)))
        frames = run.collector.frames_per_batch
        ratio = times.speed("ours", "bare")
        speeds = [number(frames / times.median(name)) for name in ("ours", "bare")]
        rows.append([run.name, str(run.collector.num_envs), *speeds, str(ratio), target(ratio, at_least)])
        layers.append(breakdown(run, times, episode))
    yield Table(
        "Acting against a bare gymnasium and PyTorch loop",
        ["exp", "environments", "ours [frames/s]", "bare [frames/s]", "ratio (min–max)", "target"],
        rows,
        notes=[
            "Bare: the same Gymnasium vector environment and network, without TorchRL; observations in a list.",
            "Bare pixels: env.render(), then OpenCV's crop, grey and resize, one environment after the other.",
            "With nearly random actions CartPole falls after some 23 steps: of 64 environments several are reset at",
            "each step, which is the worst case. MountainCar runs 200 steps whatever one does.",
            "Both: ε-greedy with the ε of frame 0, and the same number of PyTorch threads.",
        ],
        names=2,
    )
    yield from layers


def measure(run: RunConfig, pace: Pace) -> tuple[Times, float]:
    """Time ours, the bare loop and the layers of ours; also return the mean length of an episode."""
    with ExitStack() as stack:
        parts = stack.enter_context(building(run))
        bare = BareActor(run, parts.actor.network, epsilon=parts.exploration.anneal(0))
        stack.callback(bare.close)
        sides: dict[str, Call] = {"ours": collecting(parts), "bare": bare.collect}
        sides |= layer_calls(run, parts, stack)
        times = interleave(sides, pace)
    return times, bare.frames / max(1, bare.episodes)


@contextmanager
def building(run: RunConfig) -> Iterator[Parts]:
    """Build all parts of a run in a directory that vanishes, ready to act."""
    with TemporaryDirectory(prefix="recall_benchmark_") as directory:
        parts = build(run, Path(directory), {}, None)
        parts.exploration.anneal(0)
        parts.collection.restart(seed_for(run.seed, "env"))
        try:
            yield parts
        finally:
            parts.close()
            parts.logger.finish({})


def collecting(parts: Parts) -> Call:
    """Return the collection of one batch."""
    batches = iter(parts.collection)
    return lambda: next(batches)


def layer_calls(run: RunConfig, parts: Parts, stack: ExitStack) -> dict[str, Call]:
    """Make one call per layer, innermost first, each with its own environments, as long as a batch."""

    def fresh() -> TransformedEnv:
        env = run.env.build(EnvContext(run.collector.num_envs, run.network.transforms()))
        stack.callback(env.close)
        env.set_seed(run.seed)
        assert isinstance(env, TransformedEnv)
        return env

    shape = run.collector.steps, run.collector.num_envs
    actions = torch.randint(run.spaces.n_actions, shape)
    whole, wrapper, vector = fresh(), fresh().base_env, gymnasium_env(fresh())
    calls: dict[str, Call] = {}
    if isinstance(vector, Pixels):
        calls["physics"] = stepping(gymnasium_env(fresh(), inside=True), actions)
    calls["vector"] = stepping(vector, actions)
    calls["wrapper"] = torchrl_stepping(wrapper, actions)
    calls["transforms"] = torchrl_stepping(whole, actions)
    calls["policy"] = deciding(parts, whole, run.collector.steps)
    return calls


def gymnasium_env(env: TransformedEnv, *, inside: bool = False) -> VectorEnv:
    """Find the Gymnasium environment that TorchRL wraps; `inside` our own wrapper, if there is one."""
    wrapped = env.base_env._env  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(wrapped, VectorEnv)
    return wrapped.env if inside and isinstance(wrapped, VectorWrapper) else wrapped


def stepping(envs: VectorEnv, actions: Tensor) -> Call:
    """Step a Gymnasium vector environment and reset what ended."""
    envs.reset(seed=0)
    plan = actions.numpy()

    def call() -> None:
        for action in plan:
            _, _, terminated, truncated, _ = envs.step(action)
            done = terminated | truncated
            if done.any():
                envs.reset(options={"reset_mask": done})

    return call


def torchrl_stepping(env: EnvBase, actions: Tensor) -> Call:
    """Step a TorchRL environment and reset what ended."""
    held = [env.reset()]

    def call() -> None:
        td = held[0]
        for action in actions:
            _, td = env.step_and_maybe_reset(td.set(keys.ACTION, action))
        held[0] = td

    return call


def deciding(parts: Parts, env: EnvBase, steps: int) -> Call:
    """Choose actions as the collector does, always for the same observations."""
    start = env.reset().to(parts.run.torch_device)

    def call() -> None:
        with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
            for _ in range(steps):
                parts.actor.policy(start.copy())

    return call


def breakdown(run: RunConfig, times: Times, episode: float) -> Table:
    """Split one step of the collector into what each layer adds."""
    steps = run.collector.steps
    t = {name: 1e3 * times.median(name) / steps for name in times.seconds}  # ms per vector step
    parts = {"environments": t.get("physics", t["vector"])}
    if "physics" in t:
        parts["drawing"] = t["vector"] - t["physics"]
    parts |= {
        "GymWrapper": t["wrapper"] - t["vector"],
        "transforms": t["transforms"] - t["wrapper"],
        "policy": t["policy"],
        "Collector": t["ours"] - t["transforms"] - t["policy"],
        "ours, all": t["ours"],
        "bare, all": t["bare"],
    }
    return Table(
        f"Where an acting step goes, {run.name} with {run.collector.num_envs} environments",
        ["layer", "ms per vector step", "share of ours"],
        [[name, number(ms), f"{100 * ms / t['ours']:.0f} %"] for name, ms in parts.items()],
        notes=[
            "What each layer adds to those above it: differences of medians, so noise may make one negative.",
            f"Actions are nearly random, so episodes are short ({number(episode)} steps) and resets frequent.",
        ],
    )
