"""Section about compressed rows: how much smaller they are, and what they cost."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import islice, product
from typing import ClassVar, cast

import torch
from gymnasium import Env
from gymnasium.vector import SyncVectorEnv
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase

from benchmarks.actors import record, run_with, take
from benchmarks.measure import Missing, Pace, Table, interleave, number
from benchmarks.subjects import open_replay, process_of, run_of
from modules import keys
from modules.collect.sync import SyncCollection
from modules.envs.gym import vector_env
from modules.replay.base import Replay
from modules.replay.cut_rows import CutRows
from pipelines.agent.actor import worker_actor
from pipelines.config.schema import RunConfig

Keys = list[str | tuple[str]]
TITLE = "Compressed rows against the memory map, r2d2_atari"
NEW = 40  # steps of each row that the row before has not
RANDOM, FOLLOWS = "at random", "follows the ball"
PLAYS = (*product(("Pong", "Breakout", "Seaquest"), (RANDOM,)), ("Pong", FOLLOWS), ("Breakout", FOLLOWS))
STACKS = (1, 4)
ROWS = 200  # in the replay; of a quick look a third
COSTS = (
    "compress [µs per row]",
    "decompress [µs per row]",
    "write, time / memmap's (min–max)",
    "sample [ms]",
    "sample, time / memmap's (min–max)",
)
FILLED = (("memmap", 200_000), ("compressed", 200_000), ("compressed", 4_000_000))  # steps
SMALL = ("network.torso.out_features=16", "network.memory.hidden_size=16", "device=cpu", "warmup_frames=0")


def compression(pace: Pace) -> Iterator[Table | Missing]:
    """Compressed rows of Atari games against the memory map: bytes, times of writing and sampling, 4 M steps."""
    if find_spec("ale_py") is None:
        yield Missing(TITLE, "ale-py is not installed: pip install -c constraints.txt -e '.[atari]'.")
        return
    plays, stacks = (PLAYS[::3], STACKS[:1]) if pace.quick else (PLAYS, STACKS)
    part = pace.part(3 * len(plays) * len(stacks))
    rows = [row_of(game, player, stack, part) for game, player in plays for stack in stacks]
    yield Table(
        TITLE,
        ["game", "played", "frames stacked", "ratio", "row [kB]", *COSTS],
        rows,
        notes=[
            f"{ROWS} rows of 120 steps, 40 of them new; batches of 64.",
            "Who follows the ball reads its place from the emulator and acts at random in one of twenty steps: rallies "
            "are long and bricks go, as with a trained policy. There is no such player of Seaquest.",
            "Write: cut and store a batch of 160 steps. Sample: the rows of an update.",
        ],
        names=2,
    )
    yield full(pace)


def full(pace: Pace) -> Table:
    """Sample from as many compressed steps as R2D2's replay holds; a memory map of these would be 85 GB."""
    fewer = 20 if pace.quick else 1
    sizes = [(kind, steps // fewer) for kind, steps in FILLED]
    run = run_with("memmap", sizes[0][1] // NEW)
    with process_of(run), ExitStack() as stack:
        recorded = record(run, 10 if pace.quick else 60)
        replays = {}
        for kind, steps in sizes:
            replay = stack.enter_context(open_replay(run_with(kind, steps // NEW)))
            while len(replay) < steps // NEW:
                take(replay, recorded, whole=False)
            replays[f"{kind}, {steps}"] = replay
        times = interleave({name: replay.sample for name, replay in replays.items()}, pace)
    first = next(iter(replays))
    return Table(
        "Sampling 64 rows of 120 steps from a full replay, Pong",
        ["replay/storage", "steps", "rows [GB]", "sample [ms]", "time over the first's (min–max)"],
        [
            [
                kind,
                number(steps),
                number(len(replay) * stored_bytes(run, replay.measures().get("replay/compression", 1)) / 1e9),
                number(1e3 * times.median(name)),
                str(times.speed(first, name)),
            ]
            for (kind, steps), (name, replay) in zip(sizes, replays.items(), strict=True)
        ],
        notes=[
            "Rows that an actor of a random policy cut, written again and again, one frame of 84 × 84 per step.",
            "A memory map of 4 M steps would be 85 GB.",
        ],
    )


def stored_bytes(run: RunConfig, ratio: float) -> float:
    """Bytes of a row whose observations shrink to 1 / `ratio`; its other entries are stored as they are."""
    schema, spaces = run.sequence_schema, run.spaces
    observations = (schema.slots + 1) * spaces.observation_size * spaces.observation_dtype.itemsize
    return schema.row_bytes(spaces) - observations + observations / ratio


def row_of(game: str, player: str, stack: int, pace: Pace) -> list[str]:
    """Measure one game with one player."""
    count = ROWS // 3 if pace.quick else ROWS
    words = (f"env.id=ALE/{game}-v5", f"env.frame_stack={stack}", f"replay.capacity={NEW * count}", *SMALL)
    runs = {kind: run_of("r2d2_atari", f"replay/storage={kind}", *words) for kind in ("memmap", "compressed")}
    run = runs["memmap"]
    with process_of(run), ExitStack() as stack_of:
        replays = {kind: stack_of.enter_context(open_replay(run)) for kind, run in runs.items()}
        batches = list(played(run, game, player, NEW * (count + 8)))
        for batch in batches:
            extend(replays, batch)
        rows = replays["memmap"].sample()
        assert rows is not None  # no shards here
        plain = CutRows(TensorDict({keys.OBSERVATION: rows[keys.OBSERVATION]}, rows.batch_size))
        packed = CutRows(*plain.in_blocks())
        both_ways = interleave({"compress": plain.in_blocks, "decompress": packed.whole}, pace)
        writes = interleave(
            {kind: partial(extend, {kind: replay}, batches[0]) for kind, replay in replays.items()}, pace
        )
        samples = interleave({kind: replay.sample for kind, replay in replays.items()}, pace)
    return [
        game,
        player,
        str(stack),
        number(replays["compressed"].measures()["replay/compression"]),
        number(run.sequence_schema.row_bytes(run.spaces) / 1e3),
        *(number(1e6 * both_ways.median(way) / len(rows)) for way in ("compress", "decompress")),
        str(writes.speed("memmap", "compressed")),
        number(1e3 * samples.median("compressed")),
        str(samples.speed("memmap", "compressed")),
    ]


def extend(replays: Mapping[str, Replay], batch: TensorDictBase) -> None:
    """Give replays a batch of steps, each its own copy."""
    for replay in replays.values():
        replay.extend(batch.clone())


def played(run: RunConfig, game: str, player: str, frames: int) -> Iterator[TensorDictBase]:
    """Yield batches of what a player does."""
    actor = worker_actor(run, 0)
    env = actor.env()
    plays = Plays(actor.policy, vector_env(env), None if player == RANDOM else game)
    with closing(SyncCollection(run.collector, replace(actor, env=lambda: env, policy=plays))) as collection:
        collection.restart(run.seed)
        for _, batch, _ in islice(collection, -(-frames // run.collector.frames_per_batch)):
            yield batch


class Plays(TensorDictModuleBase):
    """Moves to where the ball is, and now and then at random; always, if that is not known.

    Args:
        policy: of which the action is replaced.
        envs: the games.
        ball_of: which they are, if there is a ball to follow.
    """

    # bytes of the emulator's memory that hold the paddle's place and the ball's, pixels from the one to the other when
    # they meet, and what to do when the ball is behind and ahead (RIGHT is up in Pong)
    GAMES: ClassVar = {"Pong": (51, 54, -2, (4, 3)), "Breakout": (72, 99, 8, (3, 4))}
    SERVES, OFTEN, RANDOM = 1, 0.1, 0.05  # FIRE; shares of the steps

    def __init__(self, policy: TensorDictModuleBase, envs: SyncVectorEnv, ball_of: str | None) -> None:
        super().__init__()
        self.in_keys, self.out_keys = cast("Keys", policy.in_keys), cast("Keys", policy.out_keys)
        self._policy, self._envs, self._ball_of = policy, envs, ball_of

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Change the actions [N] of a step."""
        tensordict = self._policy(tensordict)
        count = self._envs.num_envs
        actions = torch.randint(int(self._envs.single_action_space.n), (count,))  # pyright: ignore[reportAttributeAccessIssue]
        if self._ball_of is not None:
            moves = torch.tensor([self._move(env, *self.GAMES[self._ball_of]) for env in self._envs.envs])
            drawn = torch.rand(count)
            moves = torch.where(drawn < self.OFTEN + self.RANDOM, self.SERVES, moves)
            actions = torch.where(drawn < self.RANDOM, actions, moves)
        return tensordict.set(keys.ACTION, actions)

    def _move(self, env: Env, paddle: int, ball: int, apart: int, moves: tuple[int, int]) -> int:
        """What brings the paddle of one game nearer; nothing where it is near."""
        memory = env.unwrapped.ale.getRAM()  # pyright: ignore[reportAttributeAccessIssue]
        if not memory[ball]:
            return self.SERVES
        distance = int(memory[ball]) - int(memory[paddle]) - apart
        return 0 if abs(distance) <= 2 else moves[0] if distance > 0 else moves[1]
