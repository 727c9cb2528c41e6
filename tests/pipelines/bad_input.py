"""Bad input, and what the entry points say to it: `python -m tests.pipelines.bad_input > docs/bad_input.md`."""

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from modules import checkpoint
from tests.pipelines.bad_commands import COMMANDS, FURTHER, STATE
from tests.pipelines.launch import Ended, launch

TINY = (STATE, "+debug=smoke", "total_frames=100", "video=false")
PLACES = {
    "RUN": "a finished run of 100 frames",
    "ABOVE": "a folder with a run in it",
    "NOWHERE": "nothing",
    "EMPTY": "an empty folder",
    "FILE": "a file",
    "NO_CHECKPOINT": "a run whose checkpoints were deleted",
    "TRUNCATED": "one whose checkpoints were cut in half",
    "FOREIGN": "one with checkpoints of another program",
    "BOMB": "one whose checkpoints are pickles that would run a command",
    "NEWER": "one with checkpoints of a later version",
    "OTHER_NETWORK": "one in whose config.yaml the size of the memory was changed by hand",
    "OTHER_HEAD": "one in whose config.yaml the size of the head was changed by hand",
    "OTHER_REPLAY": "one in whose config.yaml the rows of the replay were made longer by hand",
    "NO_REPLAY": "one whose folder replay was deleted",
    "CUT_REPLAY": "one whose replay/observation.memmap was cut to 100 bytes",
    "NO_REWARDS": "one whose replay/reward.memmap was deleted",
    "BROKEN_META": "one whose replay/meta.json was cut in half",
    "NO_METRICS": "one whose metrics.csv was deleted",
    "BROKEN_CONFIG": "one whose config.yaml is no YAML",
    "TYPO_IN_CONFIG": "one in whose config.yaml a setting is misspelt",
    "BROKEN_SUMMARY": "one whose summary.json was cut in half",
}
OURS = tuple(PLACES)
for module in FURTHER:
    PLACES |= module.PLACES


def module_of(command: str) -> str:
    """What `python -m` runs."""
    return "benchmarks" if command == "benchmark" else f"pipelines.{command}"


@dataclass(frozen=True)
class Case:
    """One bad command, the heading under which it stands, and what came of it."""

    place: Path
    heading: str
    command: str
    words: tuple[str, ...]
    ended: Ended
    left: tuple[str, ...]

    @property
    def typed(self) -> str:
        return " ".join(("python -m", module_of(self.command), *(w if " " not in w else f"'{w}'" for w in self.words)))

    @property
    def refused(self) -> bool:
        """Tell whether this is how bad input must end: one sentence, and nothing else."""
        one_line = self.ended.err.startswith("error: ") and self.ended.err.count("\n") == 1
        return one_line and self.ended.code == 2 and not self.ended.out and not self.left

    @property
    def said(self) -> str:
        """The sentence, without what depends on the machine or on unrelated settings and presets."""
        if not self.refused:
            return "**not refused as it should be**"
        sentence = self.ended.err.strip().removeprefix("error: ").replace(f"{self.place}/", "")
        sentence = sentence.replace(str(self.place), "HERE")
        sentence = re.sub(r"(and the groups) .*", r"\1 …", sentence)
        sentence = re.sub(r"(line|shorter than the) \d+", r"\1 …", sentence)
        return re.sub(r"(takes|has|machine) [\d.]+ [GM]iB", r"\1 … GiB", sentence)

    @property
    def row(self) -> str:
        """Of the page."""
        words = self.typed.removeprefix(f"python -m {module_of(self.command)}").strip().replace("|", "\\|")
        return f"| {f'`{words}`' if words else 'nothing'} | {self.said.replace('|', chr(92) + '|')} |"


class Bomb:
    """A pickle that leaves a file where it is loaded."""

    def __reduce__(self):
        return Path.touch, (Path("EXPLODED"),)


def prepare(place: Path) -> None:
    """Make the run directories of PLACES."""
    ended = launch("pipelines.train", *TINY, "hydra.run.dir=RUN", cwd=place, log=place.parent).wait()
    assert ended.code == 0, ended.err
    (place / "EMPTY").mkdir()
    (place / "FILE").write_text("text\n")
    made = {"NOWHERE", "EMPTY", "FILE", "RUN"}
    shutil.copytree(place / "RUN", place / "ABOVE" / "run")
    for name in set(OURS) - made - {"ABOVE"}:
        shutil.copytree(place / "RUN", place / name)
    for path in (place / "NO_CHECKPOINT" / "checkpoints").iterdir():
        path.unlink()
    for path in checkpoints(place / "TRUNCATED"):
        halve(path)
    for path in checkpoints(place / "FOREIGN"):
        torch.save({"model": torch.zeros(2)}, path)
    for path in checkpoints(place / "BOMB"):
        torch.save({"format": checkpoint.FORMAT, "version": checkpoint.VERSION, "network": Bomb()}, path)
    for path in checkpoints(place / "NEWER"):
        torch.save(torch.load(path, weights_only=True) | {"version": 99}, path)
    for name, old, new in (
        ("OTHER_NETWORK", r"hidden_size: \d+", "hidden_size: 24"),
        ("OTHER_HEAD", r"(head:[\s\S]*?hidden:\s*)- \d+", r"\1- 24"),
        ("OTHER_REPLAY", r" length: \d+", " length: 16"),
        ("BROKEN_CONFIG", "seed: 0", "seed: [0"),
        ("TYPO_IN_CONFIG", "gamma:", "gama:"),
    ):
        path = place / name / "config.yaml"
        text = path.read_text()
        assert re.search(old, text)
        path.write_text(re.sub(old, new, text))
    shutil.rmtree(place / "NO_REPLAY" / "replay")
    os.truncate(place / "CUT_REPLAY" / "replay" / "observation.memmap", 100)
    (place / "NO_REWARDS" / "replay" / "reward.memmap").unlink()
    halve(place / "BROKEN_META" / "replay" / "meta.json")
    (place / "NO_METRICS" / "metrics.csv").unlink()
    path = place / "BROKEN_SUMMARY" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()))[:100])
    for module in FURTHER:
        module.prepare(place)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def checkpoints(run_dir: Path) -> list[Path]:
    found = list((run_dir / "checkpoints").glob("*.pt"))
    assert len(found) > 1
    return found


def contents(place: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder with its size and time."""
    stats = ((path, path.stat()) for path in place.rglob("*"))
    return {str(path.relative_to(place)): (stat.st_size, stat.st_mtime_ns) for path, stat in stats}


def cases(place: Path) -> Iterator[Case]:
    """Run everything in `place`, one after the other."""
    return (case(place, *each) for each in every())


def every() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield heading, command and words of everything."""
    for command, table in COMMANDS.items():
        heading = ""
        for words in table:
            if isinstance(words, str):
                heading = words.removeprefix("# ")
            else:
                yield heading, command, words


def case(place: Path, heading: str, command: str, words: tuple[str, ...]) -> Case:
    """Run one command in `place`, and remove what it should not have made."""
    before = contents(place)
    first = refuse_to_train if command == "train" else nobody
    ended = launch(module_of(command), *words, cwd=place, log=place.parent, before=first).wait()
    after = contents(place)
    left = tuple(sorted(name for name in before.keys() | after if before.get(name) != after.get(name)))
    if left:
        shutil.rmtree(place / "outputs", ignore_errors=True)
    return Case(place=place, heading=heading, command=command, words=words, ended=ended, left=left)


def refuse_to_train() -> None:
    """Do not train for minutes on what was not refused."""
    from pipelines.training import session

    def execute(*_: object, **__: object) -> None:
        raise SystemExit("not refused")

    session.execute = execute  # type: ignore[assignment]
    nobody()


def nobody() -> None:
    """Be a user without an account."""
    home = Path.cwd().with_name("home")
    os.environ |= {"HOME": str(home), "NETRC": str(home / "netrc")}
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"):
        os.environ.pop(name, None)


def markdown(found: list[Case]) -> str:
    lines = [
        "# Bad input",
        "",
        "What the entry points say to what cannot work: one sentence on stderr, after `error: `,",
    ]
    lines += ["exit code 2, and nothing is created or changed on disk. Generated, and checked by a test:"]
    lines += ["`python -m tests.pipelines.bad_input > docs/bad_input.md`.", ""]
    lines += ["Folders in the commands: " + "; ".join(f"`{name}` is {what}" for name, what in PLACES.items()) + "."]
    above = ("", "")
    for case in found:
        if (case.command, case.heading) != above:
            above = (case.command, case.heading)
            title = module_of(case.command) + (f": {case.heading.lower()}" if case.heading else "")
            lines += ["", f"## {title}", "", "| typed | said |", "|---|---|"]
        lines.append(case.row)
    return "\n".join(lines) + "\n"


def main() -> None:
    if find_spec("ray") is None:
        sys.exit("the page needs Ray: pip install -c constraints.txt -e '.[ray]'")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "place"
        place.mkdir()
        prepare(place)
        sys.stdout.write(markdown(list(cases(place))))


if __name__ == "__main__":
    main()
