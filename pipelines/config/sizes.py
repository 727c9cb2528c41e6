"""What a run takes of memory and disk, counted before anything of that size is allocated."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from modules.intrinsic import IntrinsicContext
from modules.meta_controller import MetaContext
from modules.replay.ring import readable, refuse_what_does_not_fit
from modules.spec import Spec, UsageError
from pipelines.config.schema import RunConfig

META = torch.device("meta")  # where tensors have a shape and no memory
COPIES = 5  # of the network: gradients, two moments of Adam, the average that is evaluated, the target network
ACTING = 2  # copies on the CPU, to collect and to evaluate with
TRAINED = 3  # gradients and moments of what learns beside the network
WORD = 8  # bytes of a float64, an int64 or a reference


class TooLargeError(Exception):
    """A single tensor has more bytes than 64 bits count."""


def refuse_too_large(run: RunConfig) -> None:
    """Raise `UsageError` if what `run` must hold at once does not fit the memory that is left.

    A lower bound: activations, the environments themselves and libraries come on top. What lives on a GPU is not
    counted, nor a network or novelty of somebody's own that cannot be made without memory.
    """
    left = psutil.virtual_memory().available
    parts: dict[str, int] = {}
    for count in (stored_parts, built_parts):  # which builds lists and arrays as long as the first has found to fit
        try:
            parts |= count(run)
        except TooLargeError as error:
            raise UsageError(f"{error}: one of its tensors is larger than any memory") from error
        total = sum(parts.values())
        if total > left:
            largest = max(parts, key=lambda part: parts[part])
            raise UsageError(
                f"the run takes {readable(total)} of memory at least, and the machine has {readable(left)} left: make "
                f"smaller what takes the most, {largest}"
            )


def refuse_full_disk(run: RunConfig, run_dir: Path) -> None:
    """Raise `UsageError` if replay and checkpoints do not fit the disk of `run_dir`."""
    kept = min(run.keep_checkpoints, run.total_frames // run.save_every + 1) + 2  # the one being written, and best.pt
    # At least: both networks, their average twice, and the moments.
    checkpoint = (1 + COPIES) * size_of_network(run) + run.replay.memory(run.replay.capacity_rows) // 2
    rings = run.replay.rings(here=run.collector.envs_here == run.collector.total_envs)
    refuse_what_does_not_fit(rings * run.replay_bytes, run_dir / "replay", beside=kept * checkpoint)


def stored_parts(run: RunConfig) -> dict[str, int]:
    """Bytes of what is as long as some setting says, by its name with the settings that it follows from."""
    spaces, batch = run.spaces, run.collector.frames_per_batch
    row = run.sequence_schema.row_bytes(spaces)
    states = sum(entry.bytes for entry in run.network.state().values())
    step = 2 * (spaces.observation_size * spaces.observation_dtype.itemsize + states) + 3 * WORD
    return {
        "the steps of a batch (collector.num_envs x collector.steps x observation and recurrent state)": step * batch,
        "the rows of an update (replay.batch_rows x replay.length x observation)": row * run.replay.batch_rows,
        "what the replay keeps in memory (replay.capacity)": run.replay.memory(run.replay.capacity_rows),
        "the results of an evaluation (eval_episodes)": 2 * WORD * run.eval_episodes,
    }


def built_parts(run: RunConfig) -> dict[str, int]:
    """Bytes of what is made of tensors, counted in parts without memory."""
    learner = 1 if run.torch_device.type == "cuda" else COPIES + run.loss.has_target
    envs, evaluated = run.collector.num_envs, run.evaluation_envs
    actors = run.collector.envs_here // envs
    acting = ACTING + actors - 1
    return {
        "the network with its copies, gradients and moments (network)": (learner + acting) * size_of_network(run),
        "novelty with its episodic memories (intrinsic, collector.num_envs)": sum(
            size_of_novelty(run, num_envs) for num_envs in (*[envs] * actors, evaluated)
        ),
        "the arms' bandits (meta, collector.num_envs)": size_of_bandits(run, evaluated),
    }


def size_of_network(run: RunConfig) -> int:
    """Bytes of the weights."""
    return count_bytes("network", lambda: run.network.build(run.spaces))


def size_of_novelty(run: RunConfig, num_envs: int) -> int:
    """Bytes of what gives `num_envs` environments an intrinsic reward, and of what trains it."""

    def build() -> list[Any]:
        intrinsic_model = run.intrinsic.build(IntrinsicContext(spaces=run.spaces, device=META))
        return [intrinsic_model, intrinsic_model.acting(num_envs)]

    return count_bytes("intrinsic", build, trained=TRAINED)


def size_of_bandits(run: RunConfig, evaluated: int) -> int:
    """Bytes of the controllers' windows."""
    return count_bytes(
        "meta",
        lambda: [
            run.meta.build(MetaContext.all_of(run.collector.num_envs, seed=0)),
            run.meta.build_evaluation_bandit(MetaContext.all_of(evaluated, seed=0)),
        ],
    )


def count_bytes(group: str, build: Any, *, trained: int = 0) -> int:
    """Bytes of all tensors in what `build` makes, and `trained` times those of its parameters that learn.

    Raises:
        TooLargeError: 64 bits are too few to count the bytes of a tensor.
    """
    try:
        with META:
            made = build()
    except (RuntimeError, TypeError, ValueError, MemoryError, NotImplementedError) as error:
        if isinstance(error, MemoryError) or "verflow" in str(error):  # of PyTorch, however it is written
            raise TooLargeError(group) from error
        return 0  # a part of somebody's own that needs memory to be made
    found = {tensor.untyped_storage()._cdata: tensor for tensor in tensors_in(made, {})}  # views share a storage
    return sum(
        tensor.untyped_storage().nbytes() * (1 + trained * (isinstance(tensor, nn.Parameter) and tensor.requires_grad))
        for tensor in found.values()
    )


def tensors_in(thing: Any, seen: dict[int, Any]) -> Iterator[Tensor]:
    """Find the tensors that a part holds, in the parts of which it is made."""
    if id(thing) in seen or isinstance(thing, Spec | type | ModuleType):
        return
    seen[id(thing)] = thing
    if isinstance(thing, Tensor):
        yield thing
        return
    inner = thing.values() if isinstance(thing, Mapping) else thing if isinstance(thing, list | tuple | set) else ()
    for child in [*inner, *getattr(thing, "__dict__", {}).values()]:
        yield from tensors_in(child, seen)
