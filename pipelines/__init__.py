"""Runnable entry points and the training loop; the only package that knows Hydra."""

import sys
from importlib.util import find_spec
from pathlib import Path


def refuse_shadowed_modules() -> None:
    """End with a sentence where a package of the user's own is found before our `modules`.

    `python -m` looks in the current folder first. The same of `pipelines` nobody here can tell: then theirs is run.

    Raises:
        SystemExit: 2, if this was started by `python -m`.
        ImportError: else.
    """
    ours = Path(__file__).resolve().parents[1] / "modules"
    found = find_spec("modules")
    places = [] if found is None else list(found.submodule_search_locations or [found.origin or ""])
    if any(Path(place).resolve() == ours for place in places[:1]):
        return
    what = f"{places[0]} hides Recall's own package `modules`" if places else f"Recall's package {ours} is missing"
    sentence = (
        f"{what}: rename it, run from another folder (files of environments of your own go along), "
        "or keep Python from looking in the current folder first by `python -P -m …`"
    )
    if sys.argv[:1] == ["-m"]:  # of which Python would show a traceback of its own
        sys.stderr.write(f"error: {sentence}\n")
        raise SystemExit(2)
    raise ImportError(sentence)


refuse_shadowed_modules()
