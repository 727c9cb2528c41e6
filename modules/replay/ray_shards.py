"""Shards of the replay as actors of Ray."""

from collections.abc import Iterator
from typing import Any, Protocol

from modules.replay.shard import Shard


class ShardLost(RuntimeError):  # noqa: N818 - it is the shard that is lost
    """The process of a shard, or its machine, is gone."""


class Shards(Protocol):
    """Where shards are, and how they are asked; each answers in the order of the questions."""

    def hire(self, task: bytes) -> Any:
        """Make a `Shard`."""
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
    """Shards as actors of Ray, one on each machine as far as there are as many."""

    def hire(self, task: bytes) -> Any:
        import ray  # pyright: ignore[reportMissingImports] - an extra

        # They wait most of the time, so they take no CPU from the workers.
        return ray.remote(Shard).options(num_cpus=0, max_restarts=0, scheduling_strategy="SPREAD").remote(task)

    def ask(self, shard: Any, method: str, *args: Any) -> Any:
        return getattr(shard, method).remote(*args)

    def answered(self, question: Any) -> bool:
        import ray  # pyright: ignore[reportMissingImports] - an extra

        return bool(ray.wait([question], timeout=0, fetch_local=False)[0])

    def answer(self, question: Any) -> Any:
        import ray  # pyright: ignore[reportMissingImports] - an extra
        from ray.exceptions import RayError, RayTaskError  # pyright: ignore[reportMissingImports]

        try:
            return ray.get(question)
        except RayTaskError as error:
            raise error.cause from error
        except RayError as error:
            raise ShardLost(" ".join(str(error).split())[:200]) from error

    def history(self, shard: Any, count: int, seed: int) -> Iterator[Any]:
        for part in shard.history.options(num_returns="streaming").remote(count, seed):
            yield self.answer(part)
