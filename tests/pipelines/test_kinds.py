"""What a dashboard shows of a configuration."""

from omegaconf import OmegaConf

from pipelines.config.composing import compose_run, composing
from pipelines.config.schema import RunConfig, read
from pipelines.reporting.kinds import without_targets


def leaves(node, prefix=""):
    """Every value that is no mapping, with its dotted name."""
    for name, value in node.items():
        yield from leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]


def test_kinds_are_said_where_there_is_a_choice_and_nothing_else_is_lost():
    with composing():
        cfg, _ = compose_run(["+exp=agent57_corridor", "optim.lr=0.5"])
    read(cfg)
    config = OmegaConf.to_container(cfg, resolve=True)
    shown = without_targets(config, RunConfig)
    before, after = dict(leaves(config)), dict(leaves(shown))
    assert "_target_" not in str(shown)
    assert {name: value for name, value in before.items() if "_target_" not in name} == {
        name: value for name, value in after.items() if not name.endswith(".kind")
    }
    kinds = {name.removesuffix(".kind"): value for name, value in after.items() if name.endswith(".kind")}
    assert kinds["network.memory"] == "Lstm"
    assert kinds["callbacks.best"] == "Best"
    assert not {"optim", "target", "logger", ""} & kinds.keys()  # there is only one


def test_parts_that_nobody_has_imported_keep_their_kind():
    config = {"optim": {"_target_": "nowhere.of.MySpec", "rate": 1, "list": [1], "more": {"_target_": "a.BSpec"}}}
    assert without_targets(config, RunConfig) == {
        "optim": {"kind": "My", "rate": 1, "list": [1], "more": {"kind": "B"}}
    }
