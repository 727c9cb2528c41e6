"""Shards of the replay as actors of Ray."""

import logging
from collections.abc import Iterator
from textwrap import shorten
from typing import Any, Protocol

from modules.replay.shard import Shard

log = logging.getLogger("recall")
AHEAD = 2  # batches of a history that a shard may be ahead of who reads it
SILENCE_S = 60  # after which a wait for an answer is worth a word


class ShardLost(RuntimeError):  # noqa: N818 - it is the shard that is lost
    """The process of a shard, or its machine, is gone."""


class Shards(Protocol):
    """Where shards are, and how they are asked; each answers in the order of the questions."""

    def start(self, task: bytes, number: int, machine: str) -> tuple[Any, str]:
        """Make shard `number` of all, on the `machine` where it was if that is there; return it and its machine."""
        ...

    def ask(self, shard: Any, method: str, *args: Any) -> Any:
        """Have a shard do something; return at once, with what `answer` takes."""
        ...

    def answered(self, question: Any) -> bool:
        """Whether `answer` would not wait."""
        ...

    def answer(self, question: Any) -> Any:
        """Wait for what a shard returns; raises `ShardLost`, or what the shard raised."""
        ...

    def history(self, shard: Any, count: int, seed: int) -> Iterator[Any]:
        """Ask for `Shard.history`, one batch at a time."""
        ...


class RayShards:
    """Shards as actors of Ray, on one machine after the other."""

    def start(self, task: bytes, number: int, machine: str) -> tuple[Any, str]:
        import ray  # pyright: ignore[reportMissingImports] - an extra
        from ray.util.scheduling_strategies import (  # pyright: ignore[reportMissingImports]
            NodeAffinitySchedulingStrategy,
        )

        nodes = sorted((node["NodeManagerAddress"], node["NodeID"]) for node in ray.nodes() if node["Alive"])
        known = [node for node in nodes if node[0] == machine]
        machine, node_id = (known or nodes)[number % len(known or nodes)]
        # They wait most of the time, so they take no CPU from the workers. Ray spreads only what takes something.
        where = NodeAffinitySchedulingStrategy(node_id, soft=False)
        return ray.remote(Shard).options(num_cpus=0, max_restarts=0, scheduling_strategy=where).remote(task), machine

    def ask(self, shard: Any, method: str, *args: Any) -> Any:
        return getattr(shard, method).remote(*args)

    def answered(self, question: Any) -> bool:
        import ray  # pyright: ignore[reportMissingImports] - an extra

        return bool(ray.wait([question], timeout=0, fetch_local=False)[0])

    def answer(self, question: Any) -> Any:
        import ray  # pyright: ignore[reportMissingImports] - an extra
        from ray.exceptions import (  # pyright: ignore[reportMissingImports]
            ActorUnschedulableError,
            GetTimeoutError,
            NodeDiedError,
            ObjectLostError,
            RayActorError,
            RayTaskError,
        )

        try:
            while True:
                try:
                    return ray.get(question, timeout=SILENCE_S)
                except GetTimeoutError:
                    log.warning("a shard of the replay has not answered for %d s; it is waited for", SILENCE_S)
        except RayTaskError as error:
            raise error.cause from error
        except (RayActorError, ActorUnschedulableError, NodeDiedError, ObjectLostError) as error:
            raise ShardLost(shorten(str(error), 200, placeholder=" …")) from error

    def history(self, shard: Any, count: int, seed: int) -> Iterator[Any]:
        how = {"num_returns": "streaming", "_generator_backpressure_num_objects": AHEAD}
        for part in shard.history.options(**how).remote(count, seed):
            yield self.answer(part)
