"""Export a trained policy: `python -m pipelines.export run=DIR [checkpoint=best|last] [format=pt2|onnx]`."""

import importlib.util
import io
import json
import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from modules import keys
from modules.files import refuse_unwritable, write_bytes
from modules.networks.export_step import NEXT, GreedyStep, first_inputs
from modules.previous_step import NO_ACTION
from modules.spec import Spec, UsageError, spec
from pipelines.agent.policy_card import describe_policy
from pipelines.agent.trained_agent import TrainedAgent, load_agent
from pipelines.config.plugins import Plugins
from pipelines.config.settings import parse
from pipelines.console.command import command
from pipelines.console.output import write

CARD = "recall.json"  # in the file of a policy: what `describe_step` says
DEFAULTS = {"checkpoint": "best", "format": "pt2", "plugins": ()}
USAGE = """python -m pipelines.export run=DIR [setting=value ...]
  run=DIR               run directory with the policy (required)
  checkpoint=best|last  weights with the best evaluation during training, or the newest
  format=pt2|onnx       DIR/policy.pt2 for torch.export.load, which needs PyTorch only; or DIR/policy.onnx
  plugins=[FILE]        modules of your own that the run imports; named again each time, for the folder may not be yours
Writes one step of the greedy policy and lists its inputs and outputs; N, the episodes side by side, is free."""
ONNX = ("onnx", "onnxscript")  # packages that PyTorch needs for format=onnx


@spec
class Export(Spec):
    """Settings of an export."""

    run: Path
    checkpoint: Literal["best", "last"]
    format: Literal["pt2", "onnx"]
    plugins: Plugins


def export(settings: Export) -> str:
    """Write the policy; return what there is to say of it.

    Raises:
        UsageError: there is no such run or checkpoint, its network cannot be exported, a package is missing, or the
            run's folder cannot be written.
        OSError: the policy could not be written; an earlier one is still there.
    """
    if settings.format == "onnx" and (missing := [name for name in ONNX if importlib.util.find_spec(name) is None]):
        how = "`pip install -c constraints.txt -e '.[onnx]'`"
        raise UsageError(f"format=onnx needs {' and '.join(missing)}: install with {how}")
    agent = load_agent(settings.run, which=settings.checkpoint, arm=None, seed=0, plugins=settings.plugins)
    if agent.run.network.torso.writes != "features":
        raise UsageError(f"{settings.run}: a table looks observations up in Python, which cannot be exported")
    refuse_unwritable(settings.run, "run")
    path = settings.run / f"policy.{settings.format}"
    content, inputs, outputs = policy_file(agent, settings.format)
    write_bytes(path, content)
    return describe_program(path, agent, inputs, outputs)


def policy_file(
    agent: TrainedAgent, kind: Literal["pt2", "onnx"]
) -> tuple[bytes, dict[str, Tensor], dict[str, Tensor]]:
    """Make the content of policy.pt2 or policy.onnx; return it with the inputs and outputs of one step."""
    program, inputs = export_program(agent)
    outputs = program.module()(inputs)
    card = json.dumps(describe_step(agent, inputs, outputs))
    if kind == "onnx":
        return to_onnx(program, inputs, outputs, card), inputs, outputs
    content = io.BytesIO()  # not into the file: PyTorch aborts where writing fails
    torch.export.save(program, content, extra_files={CARD: card})
    return content.getvalue(), inputs, outputs


def export_program(agent: TrainedAgent) -> tuple[ExportedProgram, dict[str, Tensor]]:
    """Trace one step of a policy, for any number of episodes; return it with inputs of two."""
    run, network = agent.run, agent.policy.network
    inputs = first_inputs(network, run.spaces, run.network.state(), 2)  # one would be taken for a constant
    episodes = Dim("N", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's to itself
        try:
            program = torch.export.export(
                GreedyStep(network).eval(), (inputs,), dynamic_shapes=({name: {0: episodes} for name in inputs},)
            )
        except Exception as error:  # whatever the tracer stumbles over in a torso or memory of one's own
            text = " ".join(str(error).split())[:200]
            raise UsageError(f"network: torch.export cannot trace it: {type(error).__name__}: {text}") from error
    return program, inputs


def describe_step(agent: TrainedAgent, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> dict[str, Any]:
    """Describe the policy and its step: entries with their first values, and which output is an input of the next."""
    first = {keys.PREVIOUS_ACTION: NO_ACTION, keys.ARM: agent.arm}
    following = {name.removeprefix(NEXT): name for name in outputs if name.startswith(NEXT)}
    if keys.PREVIOUS_ACTION in inputs:
        following[keys.PREVIOUS_ACTION] = keys.ACTION
    return {
        **describe_policy(agent.run),
        "frames": agent.frames,
        "inputs": {name: {**describe_entry(entry), "first": first.get(name, 0)} for name, entry in inputs.items()},
        "outputs": {name: describe_entry(entry) for name, entry in outputs.items()},
        "next": following,
    }


def describe_entry(entry: Tensor) -> dict[str, Any]:
    """Say shape, without the axis of episodes, and number type."""
    return {"shape": list(entry.shape[1:]), "dtype": str(entry.dtype).removeprefix("torch.")}


def to_onnx(program: ExportedProgram, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], card: str) -> bytes:
    """Make ONNX of it, with our names for inputs and outputs, and `card` among its metadata."""
    names: list[Any] = [list(inputs), list(outputs)]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # of torchvision, which need not be there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.onnx.export(program, input_names=names[0], output_names=names[1], dynamo=True, verbose=False)
    assert model is not None
    proto = model.model_proto
    for node in proto.graph.node:
        del node.metadata_props[:]  # where each operation stands in the source, with paths of this machine
    proto.metadata_props.add(key=CARD, value=card)
    return proto.SerializeToString()


def describe_program(
    path: Path, agent: TrainedAgent, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> str:
    """Say where the policy is, and list what goes in and what comes out."""
    lines, rewards = [f"{path}: the policy at frame {agent.frames}"], agent.run.env.agent_rewards()
    notes = {keys.PREVIOUS_ACTION: "-1 at first", keys.ARM: f"{agent.arm} in evaluations"}
    notes |= {keys.PREVIOUS_REWARD: str(rewards)} if rewards.changes else {}
    for title, entries in (("in", inputs), ("out", outputs)):
        for name, tensor in entries.items():
            shape = ", ".join(["N", *map(str, tensor.shape[1:])])
            kind = str(tensor.dtype).removeprefix("torch.")
            lines.append(f"{title:<3} {name:<36} {kind:<8} [{shape}]  {notes.get(name, '')}".rstrip())
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Export one policy."""
    logging.basicConfig(level=logging.WARNING)
    with command():
        text = export(parse(Export, DEFAULTS, arguments, USAGE))
    write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
