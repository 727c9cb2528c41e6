"""Memories: what the agent carries from step to step; swapped by `network/memory=lstm|gru|none`."""

from typing import Annotated, Literal, Protocol

import torch
from pydantic import Field
from tensordict.nn import TensorDictModule, TensorDictModuleBase
from torch import Tensor, nn
from torchrl.modules import GRUModule, LSTMModule

from modules import keys
from modules.spec import Spec, spec

PositiveInt = Annotated[int, Field(gt=0)]
Layers = Annotated[int, Field(gt=0, le=1000)]


State = tuple[Tensor, ...]


class Memory(Protocol):
    """A TensorDict module `embed` → `memory` that also runs on plain tensors, without TensorDict's overhead."""

    def run(self, embed: Tensor, state: State) -> tuple[Tensor, State]:
        """Unroll over [B, T, features] from `state`, [B, layers, H] each; return [B, T, H] and the last state."""
        ...


class MemorySpec(Spec):
    """Settings of a memory; `build` makes the module `embed` → `memory`.

    Attributes:
        name: by which results and folders tell memories apart.
        hidden_size: units of a layer, H.
        layers: stacked on each other.
    """

    name: str

    def build(self, in_features: int, span: int) -> tuple[TensorDictModuleBase, int]:
        """Make the memory, whose units keep what they hold for up to `span` steps; return it with its output's size."""
        raise NotImplementedError

    def states(self) -> dict[str, tuple[int, ...]]:
        """Keys and shapes (without batch axes) of the recurrent state; empty if there is none."""
        return {}


class NoMemory(TensorDictModule):
    """The embedding passes unchanged."""

    def __init__(self) -> None:
        super().__init__(nn.Identity(), [keys.EMBED], [keys.MEMORY])

    def run(self, embed: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what came in."""
        return embed, state


class Lstm(LSTMModule):
    """TorchRL's LSTM module, with a way past the TensorDict."""

    def run(self, embed: Tensor, state: State) -> tuple[Tensor, State]:
        """Unroll over [B, T, features]."""
        out, last = self.lstm(embed, tuple(s.transpose(0, 1).contiguous() for s in state))
        return out, tuple(s.transpose(0, 1) for s in last)


class Gru(GRUModule):
    """TorchRL's GRU module, with a way past the TensorDict."""

    def run(self, embed: Tensor, state: State) -> tuple[Tensor, State]:
        """Unroll over [B, T, features]."""
        out, last = self.gru(embed, state[0].transpose(0, 1).contiguous())
        return out, (last.transpose(0, 1),)


@torch.no_grad()
def chrono_(module: nn.RNNBase, span: int) -> None:
    """Set the gates' biases so that units keep what they hold for 1 to `span` steps; 0 changes nothing.

    A gate that keeps the share 1 − 1/T per step has the bias log(T − 1); T is drawn uniformly for each unit. PyTorch's
    own biases, near 0, keep a half: after 30 steps nothing is left, and no gradient tells that something should be.
    Source: Tallec & Ollivier (2018), section 2.1. The GRU's update gate keeps in PyTorch, where it lets in there.
    """
    if not span:
        return
    h = module.hidden_size
    for layer in range(module.num_layers):
        kept = torch.empty(h).uniform_(1, max(span - 1, 1)).log()
        biases = [getattr(module, f"bias_{side}_l{layer}") for side in ("ih", "hh")]
        gates = {1: kept, 0: -kept} if module.mode == "LSTM" else {1: kept}  # i, f, g, o; r, z, n
        for gate, bias in gates.items():
            biases[0][gate * h : (gate + 1) * h] = bias
            biases[1][gate * h : (gate + 1) * h] = 0


@spec
class NoMemorySpec(MemorySpec):
    """The feed-forward control: the embedding passes unchanged."""

    name: Literal["none"]  # pyright: ignore[reportIncompatibleVariableOverride]

    def build(self, in_features: int, span: int) -> tuple[TensorDictModuleBase, int]:
        """Make the identity."""
        del span
        return NoMemory(), in_features


@spec
class LstmSpec(MemorySpec):
    """Long short-term memory (Hochreiter & Schmidhuber 1997)."""

    name: Literal["lstm"]  # pyright: ignore[reportIncompatibleVariableOverride]
    hidden_size: PositiveInt
    layers: Layers

    def build(self, in_features: int, span: int) -> tuple[TensorDictModuleBase, int]:
        """Make the LSTM."""
        h, c = keys.LSTM_STATE
        module = Lstm(
            input_size=in_features,
            hidden_size=self.hidden_size,
            num_layers=self.layers,
            in_keys=[keys.EMBED, h, c],
            out_keys=[keys.MEMORY, ("next", h), ("next", c)],
        )
        chrono_(module.lstm, span)
        return module, self.hidden_size

    def states(self) -> dict[str, tuple[int, ...]]:
        """Hidden and cell state, [layers, H] each."""
        return dict.fromkeys(keys.LSTM_STATE, (self.layers, self.hidden_size))


@spec
class GruSpec(MemorySpec):
    """Gated recurrent unit (Cho et al. 2014)."""

    name: Literal["gru"]  # pyright: ignore[reportIncompatibleVariableOverride]
    hidden_size: PositiveInt
    layers: Layers

    def build(self, in_features: int, span: int) -> tuple[TensorDictModuleBase, int]:
        """Make the GRU."""
        (state,) = keys.GRU_STATE
        module = Gru(
            input_size=in_features,
            hidden_size=self.hidden_size,
            num_layers=self.layers,
            in_keys=[keys.EMBED, state],
            out_keys=[keys.MEMORY, ("next", state)],
        )
        chrono_(module.gru, span)
        return module, self.hidden_size

    def states(self) -> dict[str, tuple[int, ...]]:
        """The hidden state, [layers, H]."""
        return dict.fromkeys(keys.GRU_STATE, (self.layers, self.hidden_size))
