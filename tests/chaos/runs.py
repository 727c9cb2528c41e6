"""Tiny runs that are disturbed at random moments, and what must come of them."""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from modules import checkpoint
from tests.chaos.moments import note_time
from tests.pipelines.launch import Ended, launch

FRAMES, SAVE_EVERY = 240, 40
SMALL = (
    *("+debug=smoke", "threads=1", f"total_frames={FRAMES}", f"save_every={SAVE_EVERY}", "eval_every=80"),
    *("log_every=40", "video=false"),
)
PRESETS = {
    "state": ("+exp=drqn_cartpole_masked", *SMALL, "replay.ratio=2"),
    "pixels": ("+exp=drqn_cartpole", *SMALL),
    "priorities": ("+exp=r2d2_memory_len", *SMALL, "env.length=10", "replay.overlap=5", "replay.burn_in=5"),
    "family": ("+exp=agent57_corridor", *SMALL, "env.length=9", "env.horizon=12", "replay.overlap=5"),
    "process": (
        *("+exp=r2d2_memory_len", *SMALL, "env.length=10", "replay.length=5", "replay.burn_in=5", "replay.ratio=2"),
        *("collector=multi_async", "collector.processes=1", "collector.num_envs=2", "collector.steps=10"),
        "collector.push_every=60",
    ),
    "on_policy": ("+exp=reinforce_cartpole", "+debug=smoke_on_policy", *SMALL[1:]),
    "rollout": ("+exp=pqn_cartpole", "+debug=smoke_on_policy", *SMALL[1:]),
}
NOT_BEGUN = ("no run is there", "no checkpoint", "nothing was learned yet")


@dataclass
class Undisturbed:
    """A run that nothing disturbed: its settings, its folder, and how long its process lived."""

    words: tuple[str, ...]
    run_dir: Path
    seconds: float

    @property
    def metrics(self) -> bytes:
        return (self.run_dir / "metrics.csv").read_bytes()


@dataclass
class Figures:
    """What is counted, and what went wrong, under one title."""

    title: str
    counts: Counter[str] = field(default_factory=Counter)
    values: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def expect(self, holds: bool, what: str, ended: Ended | None = None) -> None:
        if not holds:
            self.faults.append(f"{what}: {ended}" if ended else what)

    def show(self) -> None:
        rows = [f"| {name} | {count} |\n" for name, count in [*sorted(self.counts.items()), *self.values.items()]]
        sys.stdout.write(
            f"\n## {self.title}\n\n| what | how many |\n|---|---|\n{''.join(rows)}| faults | {len(self.faults)} |\n"
        )
        assert not self.faults, "\n\n".join(self.faults)


def undisturbed(cwd: Path, words: Sequence[str]) -> Undisturbed:
    cwd.mkdir(parents=True)
    note = cwd.with_name(f"{cwd.name}_began")
    ended = train(cwd, words, partial(note_time, note))  # the first launch imports everything, which does not count
    over = time.monotonic()
    assert ended.code == 0, ended
    return Undisturbed(tuple(words), cwd / "run", over - float(note.read_text()))


def train(cwd: Path, words: Sequence[str], before: Callable[[], None] | None = None) -> Ended:
    cwd.mkdir(parents=True, exist_ok=True)
    return command(cwd, "pipelines.train", *words, "hydra.run.dir=run", before=before)


def resume(cwd: Path, before: Callable[[], None] | None = None) -> Ended:
    return command(cwd, "pipelines.resume", "run=run", before=before)


def command(cwd: Path, *words: str, before: Callable[[], None] | None = None) -> Ended:
    return launch(*words, cwd=cwd, before=before).wait()


def go_on(cwd: Path, whole: Undisturbed, before: Callable[[], None] | None = None) -> Ended:
    """Resume, or start again in an empty folder where nothing was begun."""
    if (cwd / "run").exists():
        ended = resume(cwd, before)
        if ended.code != 2 or not any(words in ended.err for words in NOT_BEGUN):
            return ended
        shutil.rmtree(cwd / "run")
    return train(cwd, whole.words, before)


def saved(run_dir: Path) -> int | None:
    """Frames of the newest checkpoint, which must be whole; None if there is none."""
    found = checkpoint.list_checkpoints(run_dir / "checkpoints")
    return checkpoint.load(found[-1])["frames"] if found else None


def orderly(ended: Ended, codes: Sequence[int]) -> bool:
    """Tell whether a process ended with one of `codes`, without a traceback and with one complaint at most."""
    text = ended.out + ended.err
    complaints = [line for line in text.splitlines() if line.startswith("error: ") or "][ERROR] - " in line]
    return ended.code in codes and "Traceback" not in text and "terminate called" not in text and len(complaints) < 2


def finished(ended: Ended) -> bool:
    """Tell whether a run came to its end, now or, if it was killed after its last word, before."""
    return orderly(ended, (0,)) or (ended.code == 2 and f"is at frame {FRAMES} already" in ended.err)


def distribution(name: str, values: Sequence[float]) -> Mapping[str, str]:
    """Median, 90 % and maximum of seconds, as a row of the figures."""
    ordered = sorted(values)
    at = {share: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.9)}
    return {f"{name}: median, 90 %, longest [s]": f"{at[0.5]:.2f}, {at[0.9]:.2f}, {ordered[-1]:.2f}"}
