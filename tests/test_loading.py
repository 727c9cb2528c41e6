"""Every call that reads what may hold code, or imports by name, with the reason why it is safe; a new one needs one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_architecture import CODE, ROOT, Source, last_name

RISKY = {
    *("load", "loads", "load_memmap", "load_memmap_", "memmap_refresh_", "from_filename", "from_file", "fromfile"),
    *("memmap", "open_memmap", "genfromtxt", "loadtxt", "read_pickle", "Unpickler", "unpickle", "safe_load"),
    *("unsafe_load", "full_load", "load_all", "compose", "eval", "exec", "compile", "__import__", "import_module"),
    *("locate", "safeimport", "find_spec", "run_module", "run_path", "exec_module", "spec_from_file_location"),
    *("get_class", "get_object", "get_method", "instantiate", "create", "import_or_refuse", "imported_by"),
    "import_extra",
    *("Popen", "system", "popen", "check_output", "check_call", "extractall", "unpack_archive"),
}
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "runpy", "ctypes"}
MODULES |= {"hydra.utils"}
JSON = "JSON holds no code"
OURS = "reads conf/ of this program"
ALLOWED = {
    ("modules.checkpoint", "torch.load"): "weights_only=True; a test has bombs",
    ("modules.replay.ring", "json.loads"): JSON,
    ("modules.replay.ring", "MemoryMappedTensor.from_filename"): "numbers only: name, type and shape are the run's",
    ("modules.replay.intact", "np.memmap"): "numbers only: type and shape stand in the source",
    ("benchmarks.compression", "find_spec"): "a name that stands in the source",
    ("benchmarks.actors", "find_spec"): "a name that stands in the source",
    ("benchmarks.processes", "find_spec"): "a name that stands in the source",
    ("modules.plots.runs", "json.loads"): JSON,
    ("modules.collect.worker", "load"): "copies shared memory into a network's parameters",
    ("modules.collect.worker", "pickle"): "what processes send each other that this program started",
    ("modules.collect.worker", "pickle.loads"): "as above",
    ("modules.replay.cut_rows", "pickle"): "rows that such a process sends",
    ("modules.replay.cut_rows", "pickle.loads"): "as above",
    ("pipelines.estimate", "pickle"): "only to see how long it is",
    ("modules.replay.shard", "pickle"): "settings and context that the main process sends",
    ("modules.replay.shard", "pickle.loads"): "as above",
    ("modules.replay.sharded", "pickle"): "as above",
    ("modules.collect.cluster", "pickle"): "as above",
    ("modules.collect.cluster", "pickle.loads"): "as above; Ray's own messages are pickles too",
    ("modules.collect.ray_worker", "pickle"): "as above",
    ("modules.collect.ray_worker", "pickle.loads"): "as above",
    ("modules.collect.cluster", "find_spec"): "a name that stands in the source",
    ("modules.envs.ids", "importlib.import_module"): "is `import_extra`",
    ("modules.envs.ids", "import_extra"): "one of EXTRAS, which stand in the source",
    (
        "modules.envs.ids",
        "import_or_refuse",
    ): "of env.id; pipelines.config.plugins asks before for what a run's own file names",
    ("modules.envs.atari", "import_extra"): "ale-py, which stands in the source",
    ("modules.envs.wrappers", "import_or_refuse"): "of env.wrappers; pipelines.config.plugins asks before, as above",
    ("modules.envs.wrappers", "importlib.import_module"): "is `import_or_refuse`",
    ("pipelines.reporting.result", "json.loads"): JSON,
    ("pipelines.reporting.result", "importlib.util.find_spec"): "a name that stands in the source",
    ("pipelines.api", "import_module"): "one of WHERE, which stand in the source",
    ("pipelines.agent.saved", "json.loads"): JSON,
    ("pipelines.agent.acting", "OmegaConf.create"): "of plain values that were read already",
    ("pipelines.agent.saved", "checkpoint.load"): "is ours, see modules.checkpoint",
    ("pipelines.training.begin", "loop.load"): "of a checkpoint that was read already",
    ("pipelines.training.begin", "OmegaConf.create"): "of plain values that were read already",
    ("pipelines.training.run_folder", "json.loads"): JSON,
    ("pipelines.training.session", "json.loads"): JSON,
    ("pipelines.training.lock", "json.loads"): JSON,
    ("modules.loggers.tensorboard", "np.fromfile"): "bytes of a picture that this run drew",
    ("pipelines", "find_spec"): "of a name that stands in the source: whether another package hides ours",
    ("pipelines.training.session", "OmegaConf.create"): "of plain values that were read already",
    ("pipelines.training.resuming", "OmegaConf.create"): "of plain values that were read already",
    ("pipelines.config.sweep_words", "OmegaConf.create"): "of the words of this process, to be written",
    ("pipelines.agent.trained_agent", "OmegaConf.create"): "of plain values that were read already",
    ("pipelines.config.plugins", "locate"): "after refused_target: ours, or in the user's own plugins",
    ("pipelines.__main__", "runpy.run_module"): "one of COMMANDS, which stand in the source",
    ("pipelines.__main__", "runpy"): "for that",
    ("pipelines.config.metrics_page", "importlib.import_module"): "what lies in modules/",
    ("pipelines.config.older", "locate"): "after refused_target: ours",
    ("pipelines.config.settings_page", "locate"): OURS,
    ("benchmarks.subjects", "compose"): OURS,
    ("benchmarks.dqn_solving", "compose"): OURS,
    (
        "pipelines.config.composing",
        "OverridesParser.create",
    ): "of the user's own words, or of a sweep's: see sweep_words",
    ("pipelines.config.sweep_names", "OverridesParser.create"): "as above",
    ("pipelines.dashboard", "wandb_pages.create"): "pages of W&B, of the table of metrics",
    ("pipelines.config.sweep_words", "OverridesParser.create"): "reads words, and imports nothing",
    ("modules.checkpoint", "load"): "is ours, see torch.load",
    ("modules.meta_controller.ucb", "load"): "copies a saved state of tensors",
    ("modules.process", "ctypes"): "asks the C library to give memory back",
    ("pipelines.config.hints", "OmegaConf.load"): OURS,
    ("pipelines.config.hints", "compose"): OURS,
    ("pipelines.config.composing", "compose"): "Hydra's, of conf/ and of the user's own words",
    ("pipelines.config.plugins", "yaml.compose"): "makes nodes, no objects",
    ("pipelines.config.plugins", "OmegaConf.create"): "its reader of YAML is a SafeLoader; a test has a bomb",
    (
        "pipelines.config.foreign",
        "importlib.util.find_spec",
    ): "of a name without a dot: looks for it and imports nothing",
    ("pipelines.config.foreign", "PathFinder.find_spec"): "of a name without a dot in a given folder, as above",
    ("pipelines.config.plugins", "import_or_refuse"): "what the user named in this command's plugins",
    ("pipelines.export", "importlib.util.find_spec"): "one of ONNX, which stand in the source",
    ("pipelines.sharing.folder", "find_spec"): "as above",
    ("pipelines.sharing.folder", "OmegaConf.create"): "of plain values that were read already",
    ("pipelines.sharing.hub", "OmegaConf.create"): "of plain values that were read already",
    ("pipelines.sharing.destination", "json.loads"): JSON,
    ("pipelines.agent.minari_dataset", "importlib.util.find_spec"): "one of PACKAGES, which stand in the source",
    ("benchmarks.dqn", "find_spec"): "a name that stands in the source",
    ("benchmarks.novelty", "subprocess.Popen"): "this program, with words that stand in the source",
}


def called(node: ast.expr) -> str:
    """The dotted name of what is called, as far as it has one."""
    if isinstance(node, ast.Attribute):
        return f"{inner}.{node.attr}" if (inner := called(node.value)) else node.attr
    return last_name(node)


def risky(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and (name := called(node.func)).rpartition(".")[2] in RISKY:
            if name.rpartition(".")[2] in ("eval", "compile") and isinstance(node.func, ast.Attribute):
                continue  # a module's evaluation mode, a pattern
            yield name
    yield from source.imports & MODULES


def test_every_loading_call_is_known():
    found = {(source.name, name) for source in CODE for name in risky(source)}
    assert found == ALLOWED.keys()


@pytest.mark.parametrize(
    "text",
    [
        *("import pickle", "from pickle import load\nload(f)", "np.load(p)", "torch.load(p)", "torch.export.load(p)"),
        *("TensorDict.load_memmap(d)", "yaml.load(t)", "yaml.unsafe_load(t)", "eval(t)", "exec(t)", "pydoc.locate(n)"),
        *("importlib.import_module(n)", "__import__(n)", "hydra.utils.get_class(n)", "os.system(t)"),
    ],
)
def test_a_new_one_would_be_seen(text, tmp_path):
    path = ROOT / "modules" / "new.py"

    class New(Source):
        @property
        def tree(self) -> ast.Module:  # type: ignore[override]
            return ast.parse(text)

    assert list(risky(New(path)))


def test_checkpoints_are_read_as_data():
    """The one call of torch.load says so itself: its default has changed before."""
    text = Path(ROOT / "modules" / "checkpoint.py").read_text()
    assert text.count("torch.load(") == text.count("weights_only=True") == 1
