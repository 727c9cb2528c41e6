"""Random streams: each purpose draws from its own, derived from the run's one seed."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from zlib import crc32

import numpy as np
import torch

Purpose = Literal[  # of a random stream; the names are part of every run's numbers
    "env",
    "evaluation",
    "evaluator",
    "held-out evaluation",
    "meta",
    "numpy",
    "play",
    "python",
    "replay",
    "staleness",
    "torch",
    "video",
    "worker",
    "worker environments",
]


def seed_for(seed: int, purpose: Purpose, index: int = 0) -> int:
    """Derive the seed (31 bits) of the `index`-th use of a named stream from the run's `seed`."""
    words = np.random.SeedSequence([seed, crc32(purpose.encode()), index]).generate_state(1)
    return int(words[0]) >> 1


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch, each from its own stream."""
    random.seed(seed_for(seed, "python"))
    np.random.seed(seed_for(seed, "numpy"))  # noqa: NPY002 - environments may use the global generator
    torch.manual_seed(seed_for(seed, "torch"))


def random_state() -> dict[str, Any]:
    """Capture the state of every global generator, as plain values and tensors."""
    name, words, *rest = np.random.get_state()  # noqa: NPY002
    state = {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(words).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():  # asking for the state would open a context on every device
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


@contextmanager
def fork_rngs() -> Iterator[None]:
    """Leave the global generators as they were, whatever is drawn inside and however it ends."""
    before = random_state()
    try:
        yield
    finally:
        set_random_state(before)


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` captured."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, words, *rest = state["numpy"]
    np.random.set_state((name, words.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
