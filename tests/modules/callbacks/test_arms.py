"""What each arm did between two log events: counted, kept over a checkpoint, handed over as a table."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensordict import TensorDict

from modules import keys
from modules.callbacks.arms import Arms

BEST = SimpleNamespace(greedy=lambda: 1)


def batch(*episodes: tuple[int, float, float], steps: int = 3) -> TensorDict:
    """One environment for each (arm, return, intrinsic return), whose episode ends in the middle of the batch."""
    n = len(episodes)
    done = torch.zeros(n, steps, 1, dtype=torch.bool)
    done[:, 1] = True
    arm, returns, intrinsic = (torch.tensor(column) for column in zip(*episodes, strict=True))
    step = {
        keys.ARM: arm.unsqueeze(1).repeat(1, steps),
        keys.DONE: done,
        # Those of steps at which no episode ends must not count.
        keys.EPISODE_RETURN: torch.where(done, returns.view(n, 1, 1), 99.0),
        keys.INTRINSIC_RETURN: torch.where(done, intrinsic.view(n, 1, 1), 99.0),
    }
    return TensorDict({"next": TensorDict(step, [n, steps])}, [n, steps])


def made(n_arms: int) -> Arms:
    context: Any = SimpleNamespace(n_arms=n_arms, evaluator=BEST)
    return Arms(context)


def add(arms: Arms, batch: TensorDict) -> None:
    training: Any = None
    arms.on_batch(training, batch)


def take(arms: Arms) -> dict[int, tuple[int, float, float | None]]:
    """Episodes and mean returns of each arm in the table of a log event."""
    found: list[Any] = []
    logger = SimpleNamespace(table=lambda name, frames, rows: found.extend([(name, frames), *rows]))
    training: Any = SimpleNamespace(logger=logger, frames=64)
    assert arms.measures_after(training) == {"meta/greedy_arm": 1}
    assert not found or found.pop(0) == ("arms", 64)
    return {row["arm"]: (row["episodes"], row["return_mean"], row["intrinsic_return_mean"]) for row in found}


def test_episodes_and_mean_returns_arm_by_arm():
    tally = made(4)
    assert take(tally) == {}
    add(tally, batch((1, 2.0, 0.5), (3, -1.0, 0.25)))
    add(tally, batch((1, 5.0, 1.5)))
    training: Any = None
    assert tally.measures(training) == {"meta/arm_mean": (1 + 3 + 1) / 3}
    assert take(tally) == {1: (2, 3.5, 1.0), 3: (1, -1.0, 0.25)}
    assert take(tally) == {}
    add(tally, batch((0, 7.0, 0.0)))
    assert take(tally) == {0: (1, 7.0, 0.0)}


def test_without_a_bonus_only_its_column_is_empty():
    tally = made(2)
    steps = batch((1, 2.0, 0.5))
    add(tally, steps.exclude(("next", keys.INTRINSIC_RETURN)))
    assert take(tally) == {1: (1, 2.0, None)}
    add(tally, steps)  # nothing of that is left
    assert take(tally) == {1: (1, 2.0, 0.5)}


def test_a_checkpoint_between_two_log_events_loses_nothing():
    whole, first, second = (made(2) for _ in range(3))
    parts = batch((0, 0.1, 0.2), (1, 0.3, 0.4)), batch((0, 0.7, 1 / 3), (1, 0.9, 0.1))
    for tally, seen in ((whole, parts), (first, parts[:1])):
        for steps in seen:
            add(tally, steps)
    second.load_state_dict(first.state_dict())
    add(first, parts[1])  # the state is a copy
    add(second, parts[1])
    training: Any = None
    assert second.measures(training) == whole.measures(training)
    assert take(second) == take(whole)


def test_what_cannot_be_written_is_not_forgotten():
    tally = made(2)
    add(tally, batch((1, 2.0, 0.5)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    training: Any = SimpleNamespace(logger=SimpleNamespace(table=full), frames=64)
    with pytest.raises(OSError, match="No space"):
        tally.measures_after(training)
    assert take(tally) == {1: (1, 2.0, 0.5)}


def test_the_picture_is_drawn_from_the_table(tmp_path: Path):
    training: Any = SimpleNamespace(run_dir=tmp_path)
    assert made(2).draw(training) == []  # there is none
