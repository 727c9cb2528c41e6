"""An exported policy acts as the original."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from modules import keys
from modules.networks.export_step import NEXT
from modules.previous_step import NO_ACTION
from pipelines import export
from pipelines.api import Callback, evaluate, load
from pipelines.export import main
from tests.pipelines.saved_runs import KINDS, saved_kind, saved_run, varied
from tests.roads.page import File, steps


class Inputs(Callback):
    """Keeps what a network read over an episode, and what it did."""

    def __init__(self):
        self.read, self.actions = [], []
        self._before = {keys.PREVIOUS_ACTION: NO_ACTION, keys.PREVIOUS_REWARD: 0.0}

    def on_step_end(self, step):
        self.read.append({keys.OBSERVATION: step.observation, **self._before})
        self.actions.append(step.action)
        self._before = {keys.PREVIOUS_ACTION: step.action, keys.PREVIOUS_REWARD: step.reward}


def episode(run_dir):
    """What was read and done in the longest of a few evaluated episodes."""
    found = []
    for seed in range(3):
        kept = Inputs()
        evaluate(run_dir, episodes=1, seed=seed, callbacks=[kept])
        found.append(kept)
    return max(found, key=lambda kept: len(kept.actions))


def tensors(read, names, n=1):
    """Make the inputs of one step that are no state, the same for `n` episodes."""
    kinds = {keys.PREVIOUS_ACTION: np.int64, keys.PREVIOUS_REWARD: np.float32}
    every = {name: torch.from_numpy(np.asarray(value, kinds.get(name))) for name, value in read.items()}
    every |= {keys.PREVIOUS_INTRINSIC: torch.tensor(0.0), keys.ARM: torch.tensor(0)}
    return {name: every[name].expand(n, *every[name].shape).contiguous() for name in names if name in every}


def exported(run_dir, capsys):
    assert main([f"run={run_dir}"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    return torch.export.load(run_dir / "policy.pt2").module(), output.out


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "family"])
def test_an_episode_has_the_same_actions(kind, tmp_path, capsys):
    run = saved_kind(tmp_path, kind)
    policy, said = exported(tmp_path, capsys)
    kept = episode(tmp_path)
    names = [line.split()[1] for line in said.splitlines() if line.startswith("in ")]
    assert set(names) == {keys.OBSERVATION, *run.network.reads, *run.network.state()}
    state = {name: entry.zeros(1) for name, entry in run.network.state().items()}
    actions = []
    for read in kept.read:
        if keys.PREVIOUS_REWARD in read:
            read[keys.PREVIOUS_REWARD] *= run.env.reward_scale
        out = policy({name: {**tensors(read, names), **state}[name] for name in names})
        state = {name: out[NEXT + name] for name in state}
        actions.append(int(out["action"]))
        assert actions[-1] == int(out["action_value"].argmax())
    assert actions == kept.actions
    assert varied(actions)


@pytest.mark.parametrize("combine", ["sum", "rescaled"])
def test_two_streams_novelty_and_arms_are_inputs_too(combine, tmp_path, capsys):
    words, seed = KINDS["family"]
    run = saved_run(tmp_path, *words, f"network.combine={combine}", seed=seed)
    policy, said = exported(tmp_path, capsys)
    assert "arm                                  int64    [N]  0 in evaluations" in said
    network = run.network.build(run.spaces)
    network.load_state_dict(torch.load(tmp_path / "checkpoints" / "best.pt")["network"])
    generator = torch.Generator().manual_seed(0)
    n = 64
    inputs = {
        keys.OBSERVATION: torch.randn(n, 4, generator=generator),
        keys.PREVIOUS_ACTION: torch.randint(-1, 2, (n,), generator=generator),
        keys.PREVIOUS_REWARD: torch.randn(n, generator=generator),
        keys.PREVIOUS_INTRINSIC: torch.randn(n, generator=generator),
        keys.ARM: torch.randint(0, run.spaces.n_arms, (n,), generator=generator),
        **{name: torch.randn(n, *entry.shape, generator=generator) for name, entry in run.network.state().items()},
    }
    out = policy(inputs)
    now = {name: value.unsqueeze(1) for name, value in inputs.items()}
    with torch.no_grad():
        values, state = network.unroll(now, tuple(inputs[name] for name in network.states))
    assert network.combination.rescale_eps == (run.loss.rescale_eps if combine == "rescaled" else 0)
    torch.testing.assert_close(out["action_value"], network.combine(values, now).squeeze(1))
    assert torch.equal(out["action"], out["action_value"].argmax(-1))
    assert varied(out["action"].tolist())
    for name, value in zip(network.states, state, strict=True):
        torch.testing.assert_close(out[NEXT + name], value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("format=onnx",), "format=onnx needs onnx and onnxscript: install with `pip install"),
        (("format=tflite",), "format: it should be 'pt2' or 'onnx', not 'tflite'"),
        (("checkpoint=last",), "no checkpoint (frames_<count>.pt) is here"),
        ((), "a table looks observations up in Python, which cannot be exported"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(words, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    saved_run(tmp_path, "+exp=tour_q")
    with pytest.raises(SystemExit) as ended:
        main([f"run={tmp_path}", *words])
    output = capsys.readouterr()
    assert (ended.value.code, output.out, output.err.count("\n")) == (2, "", 1)
    assert sentence in output.err
    assert not list(tmp_path.glob("policy.*"))


@pytest.mark.parametrize("kind", ["lstm", "previous", "pixels"])
def test_onnx_has_the_same_actions(kind, tmp_path, capsys):
    for package in (*export.ONNX, "onnxruntime"):
        pytest.importorskip(package)
    import onnxruntime

    run = saved_kind(tmp_path, kind)
    assert main([f"run={tmp_path}", "format=onnx"]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx")
    names, outputs = ([entry.name for entry in found] for found in (session.get_inputs(), session.get_outputs()))
    state = {name: np.zeros((1, *entry.shape), np.float32) for name, entry in run.network.state().items()}
    kept, actions = episode(tmp_path), []
    for read in kept.read:
        inputs = {name: value.numpy() for name, value in tensors(read, names).items()}
        out = dict(zip(outputs, session.run(outputs, inputs | state), strict=True))
        state = {name: out[NEXT + name] for name in state}
        actions.append(int(out["action"][0]))
    assert actions == kept.actions


@pytest.mark.parametrize("kind", ["lstm", "previous"])
def test_the_consumer_of_the_page_needs_neither_recall_nor_pytorch(kind, tmp_path):
    """It acts on what the environment gives, with what stands in the file."""
    for package in (*export.ONNX, "onnxruntime"):
        pytest.importorskip(package, reason="the extra onnx")
    saved_kind(tmp_path, kind)
    assert main([f"run={tmp_path}", "format=onnx"]) == 0
    generator = np.random.default_rng(0)
    observations, rewards = generator.normal(size=(60, 4)).astype(np.float32), generator.normal(size=60)
    (block,) = [step.text for step in steps("deploy") if isinstance(step, File) and step.name == "consumer.py"]
    assert block.count("\n") <= 30
    forbidden = "import sys\nfor name in ('torch', 'pipelines', 'modules'): sys.modules[name] = None\n"
    use = f"""
policy = Policy("policy.onnx")
for episode in range(2):
    policy.reset()
    rewards = [None, *{rewards.tolist()}]
    print([policy(np.array(o), reward) for o, reward in zip({observations.tolist()}, rewards)])
print([policy.card["task"], policy.card["actions"], policy.card["observation"]["space"]["type"]])
"""
    words = [sys.executable, "-c", forbidden + block + use]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    first, second, about = map(json.loads, done.stdout.replace("'", '"').splitlines())
    policy = load(tmp_path)
    expected = [policy(o, reward=r) for o, r in zip(observations, [0.0, *rewards], strict=False)]
    assert first == second == expected
    assert varied(first)
    assert about == ["CartPole-v1", ["0", "1"], "Box"]


def test_the_file_says_what_it_takes_to_act(tmp_path, capsys):
    run = saved_kind(tmp_path, "window")
    exported(tmp_path, capsys)
    files = {export.CARD: ""}
    torch.export.load(tmp_path / "policy.pt2", extra_files=files)
    card = json.loads(files[export.CARD])
    assert card["observation"]["keep"] == list(run.env.keep)
    assert (card["observation"]["window"], card["reward"]) == (3, {"scale": 0.5, "clip": None})
    assert card["inputs"][keys.PREVIOUS_ACTION] == {"shape": [], "dtype": "int64", "first": NO_ACTION}
    assert card["next"] == {keys.PREVIOUS_ACTION: keys.ACTION, **{name: NEXT + name for name in run.network.state()}}
    assert card["observation"]["space"]["high"][1] is None  # infinite
    assert card["observation"]["space"]["high"][0] == pytest.approx(4.8)
    assert card["observation"]["normalised"] == "no"


def test_actions_have_the_names_that_the_environment_gives_them():
    from pipelines.agent.policy_card import describe_policy
    from pipelines.config.composing import compose_settings
    from pipelines.config.schema import read

    corridor = read(compose_settings(("+exp=corridor",))[0])
    assert describe_policy(corridor)["actions"] == list(corridor.env.actions)
    assert corridor.env.actions
