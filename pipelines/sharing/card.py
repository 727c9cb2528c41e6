"""The card of a shared policy: README.md with the metadata that the Hugging Face Hub reads."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from modules.plots.statistics import estimate, mean
from pipelines.config.schema import RunConfig

COMMIT, VERSION = re.compile(r"[0-9a-f]{7,40}(-dirty)?"), re.compile(r"[\w.+-]{1,40}")
LICENCES = {"mit": "MIT"}  # how the Hub writes a licence → how people do


@dataclass(frozen=True, kw_only=True)
class Score:
    """What held-out greedy episodes returned.

    `low` and `high` are the ends of the mean's 95 % bootstrap interval, None of a single episode.
    """

    mean: float
    std: float
    low: float | None
    high: float | None
    episodes: int
    length_mean: float

    @classmethod
    def of(cls, evaluation: Mapping[str, Any]) -> "Score":
        """Read what evaluation.json says."""
        returns = np.asarray(evaluation["returns"], float)
        _, low, high = estimate(returns, mean)
        return cls(
            mean=float(returns.mean()),
            std=float(returns.std()),
            low=low if len(returns) > 1 else None,
            high=high if len(returns) > 1 else None,
            episodes=len(returns),
            length_mean=float(evaluation["length_mean"]),
        )


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the card says.

    Attributes:
        run: the settings.
        policy: as `describe_policy` has it.
        checkpoint: `best` or `last`.
        frames: that training had come to.
        score: of the policy.
        summary: what summary.json of the run says; may be empty.
        command: that trains like this; "" if there is none.
        licence: as the Hub writes it.
        files: that lie beside the card.
        where: what `load` takes.
        plugins: modules that the user must name.
    """

    run: RunConfig
    policy: Mapping[str, Any]
    checkpoint: str
    frames: int
    score: Score
    summary: Mapping[str, Any]
    command: str
    licence: str
    files: Sequence[str]
    where: str
    plugins: Sequence[str]

    @property
    def text(self) -> str:
        """README.md as a whole."""
        head = yaml.safe_dump(self.metadata(), sort_keys=False, allow_unicode=True, width=1000)
        return f"---\n{head}---\n\n" + "\n".join(self._lines()) + "\n"

    def metadata(self) -> dict[str, Any]:
        """What the Hub reads; `mean_reward` is its word for the mean return, "a +/- b" how it writes a deviation."""
        task = str(self.policy["task"])
        value = f"{self.score.mean:.2f} +/- {self.score.std:.2f}"
        result = {
            "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
            "dataset": {"name": task, "type": task},
            "metrics": [{"type": "mean_reward", "name": "mean_reward", "value": value, "verified": False}],
        }
        return {
            "library_name": "recall",
            "pipeline_tag": "reinforcement-learning",
            "license": self.licence,
            "tags": list(dict.fromkeys([task, "deep-reinforcement-learning", "reinforcement-learning", "recall"])),
            "model-index": [{"name": self.run.name, "results": [result]}],
        }

    def about(self) -> dict[str, Any]:
        """What recall.json says."""
        return {
            **self.policy,
            "frames": self.frames,
            "checkpoint": self.checkpoint,
            "score": vars(self.score),
            "commit": self.commit(),
            "versions": self.versions(),
        }

    def commit(self) -> str | None:
        """The commit that the run was trained with, if its summary says one."""
        found = str(self.summary.get("commit", ""))
        return found if COMMIT.fullmatch(found) else None

    def versions(self) -> dict[str, str]:
        """The packages that it was trained with."""
        found = self.summary.get("versions")
        pairs = found.items() if isinstance(found, Mapping) else ()
        return {str(name): str(text) for name, text in pairs
                if VERSION.fullmatch(str(name)) and VERSION.fullmatch(str(text))}  # fmt: skip

    def _lines(self) -> Iterator[str]:
        yield from (f"# {self.run.name}", "")
        kept = "with the best evaluation" if self.checkpoint == "best" else "at the end"
        yield f"A policy for **{self.policy['task']}**, trained with Recall: its weights {kept}, after {self.frames:,}"
        memory = "what it has seen" if self.run.network.state() else "nothing"
        yield from (f"frames of the environment. It remembers {memory} from step to step.", "")
        yield from self._facts()
        for file, what in (("replay.gif", "greedy episodes"), ("learning_curve.png", "learning curve")):
            if file in self.files:
                yield from ("", f"![{what}]({file})")
        yield from self._use()

    def _facts(self) -> Iterator[str]:
        score = self.score
        spread = "" if score.low is None else f" (95 % interval {score.low:.2f} to {score.high:.2f})"
        seen = self.policy["observation"]
        keep = "" if seen["keep"] is None else f", entries {seen['keep']} of what the environment gives"
        rows = {
            "mean return": f"**{score.mean:.2f}**{spread}, standard deviation {score.std:.2f}",
            "measured on": f"{score.episodes} greedy episodes that training never saw",
            "steps of an episode": f"{score.length_mean:.1f}",
            "observation": f"{seen['shape']} of {seen['dtype']}{keep}",
            "actions": shortened(self.policy["actions"]),
            "memory": self.run.network.memory.name,
            "seed": str(self.run.seed),
        }
        yield from ("| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items()))

    def _use(self) -> Iterator[str]:
        more = "" if self.checkpoint == "best" else ', checkpoint="last"'
        more += f", plugins={list(self.plugins)}" if self.plugins else ""
        yield from ("", "## Use", "", "```python", "from pipelines.api import load", "")
        reward = ", reward=reward" if self.run.network.inputs.previous_reward else ""
        yield from (f'policy = load("{self.where}"{more})', f"action = policy(observation{reward})")
        yield from ("policy.reset()  # between episodes", "```")
        if "policy.onnx" in self.files:
            yield from ("", "`policy.onnx` is one step of the same policy, which needs neither Recall nor PyTorch; it")
            yield "carries its inputs, their first values and the names of actions as `recall.json`."
        if "replay.mp4" in self.files:
            yield from ("", "`replay.mp4` is the film in full.")
        yield from ("", "## Train", "", "`config.yaml` has every setting of the run.")
        if self.command:
            yield from ("", "```sh", self.command, "```")
        commit, versions = self.commit(), self.versions()
        if commit or versions:
            packages = ", ".join(f"{name} {text}" for name, text in versions.items())
            told = "; ".join(filter(None, (f"Recall at commit `{commit}`" if commit else "", packages)))
            yield from ("", f"Trained with {told}.")
        yield from ("", "## Licence", "", f"{LICENCES.get(self.licence, self.licence)}.")


def shortened(actions: Sequence[str]) -> str:
    """List the names of actions, or count them if there are many."""
    return ", ".join(actions) if len(actions) <= 20 else f"{len(actions)}"
