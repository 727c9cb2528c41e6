"""Memories: what the agent carries from step to step; swapped by `network/memory=lstm|gru|none|…`."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from modules import keys
from modules.keys import Entry, State, StateSchema
from modules.networks.context import PartContext
from modules.spec import Positive, Spec, spec

if TYPE_CHECKING:  # which acting on numbers does without
    from tensordict.nn import TensorDictModule, TensorDictModuleBase
    from torchrl.modules import GRUModule, LSTMModule

Layers = Annotated[int, Field(gt=0, le=1000)]
LSTM_STATE = ("recurrent_state_h", "recurrent_state_c")
GRU_STATE = ("recurrent_state",)


@spec
class MemorySpec(Spec):
    """Settings of a memory.

    `build` makes a module that unrolls over a stretch of one episode: features [B, T, in_features] and the state before
    it, one tensor [B, *shape] for each entry of `state`, → features [B, T, out_features] and the state after it.

    Attributes:
        name: by which results and folders name the memory.
    """

    name: str

    def state(self) -> StateSchema:
        """Key, shape and number type of each tensor of the recurrent state; empty if there is none."""
        return {}

    def out_features(self, in_features: int) -> int:
        """Size of what the memory puts out."""
        raise NotImplementedError

    def build(self, context: PartContext) -> nn.Module:
        """Make the memory."""
        raise NotImplementedError

    def tensordict_module(self, memory: Any, prefix: str = "") -> "TensorDictModuleBase":
        """Make `memory` read `embed` and write `memory` of a TensorDict; the state's keys begin with `prefix`."""
        from modules.networks.tensordict_modules import RecurrentModule

        return RecurrentModule(memory, [prefix + key for key in self.state()])


def select_stored(state: StateSchema) -> StateSchema:
    """How a state is kept in TensorDicts: complex numbers as pairs, since TorchRL's specs and ONNX know none."""
    pairs = {
        key: Entry((*entry.shape, 2), entry.dtype.to_real()) for key, entry in state.items() if entry.dtype.is_complex
    }
    return {**state, **pairs}


def with_stored_state(memory: nn.Module, state: StateSchema) -> nn.Module:
    """Let a memory read and write its state as it is `stored`."""
    is_complex = tuple(entry.dtype.is_complex for entry in state.values())
    return PairedState(memory, is_complex) if any(is_complex) else memory


class PairedState(nn.Module):
    """A memory with complex numbers in its state, [B, …], read and written as pairs of real ones, [B, …, 2]."""

    def __init__(self, memory: nn.Module, is_complex: tuple[bool, ...]) -> None:
        super().__init__()
        self.memory, self._is_complex = memory, is_complex

    def forward(self, embed: Tensor, state: State) -> tuple[Tensor, State]:
        """Unroll over [B, T, features]."""
        parts = zip(state, self._is_complex, strict=True)
        out, after = self.memory(embed, tuple(torch.view_as_complex(s.contiguous()) if c else s for s, c in parts))
        parts = zip(after, self._is_complex, strict=True)
        return out, tuple(torch.view_as_real(s) if c else s for s, c in parts)


def spread(which: Tensor, like: Tensor) -> Tensor:
    """Give [N] as many axes as `like`, [N, …]."""
    return which.reshape(-1, *[1] * (like.ndim - 1))


def blank(state: Tensor, which: Tensor) -> Tensor:
    """Set a state [N, …] to 0 for `which`, bool [N]."""
    return state.masked_fill(spread(which, state), 0)


class NoMemory(nn.Module):
    """The features pass unchanged."""

    def forward(self, embed: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what came in."""
        return embed, state


class Lstm(nn.Module):
    """PyTorch's LSTM, batch first in its state too."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, embed: Tensor, state: State) -> tuple[Tensor, State]:
        """Unroll; the states are [B, layers, H]."""
        out, last = self.lstm(embed, tuple(s.transpose(0, 1).contiguous() for s in state))
        return out, tuple(s.transpose(0, 1) for s in last)


class Gru(nn.Module):
    """PyTorch's GRU, batch first in its state too."""

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        self.gru = gru

    def forward(self, embed: Tensor, state: State) -> tuple[Tensor, State]:
        """Unroll; the state is [B, layers, H]."""
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
    """The feed-forward control: the features pass unchanged."""

    name: Literal["none"]  # pyright: ignore[reportIncompatibleVariableOverride]

    def out_features(self, in_features: int) -> int:
        return in_features

    def build(self, context: PartContext) -> NoMemory:
        return NoMemory()

    def tensordict_module(self, memory: Any, prefix: str = "") -> "TensorDictModule":
        from tensordict.nn import TensorDictModule

        del memory, prefix
        return TensorDictModule(nn.Identity(), [keys.EMBED], [keys.MEMORY])


@spec
class RecurrentSpec(MemorySpec):
    """What recurrent networks have in common.

    Attributes:
        hidden_size: units of a layer, H.
        layers: stacked on each other.
    """

    hidden_size: Positive
    layers: Layers

    def out_features(self, in_features: int) -> int:
        del in_features
        return self.hidden_size


@spec
class LstmSpec(RecurrentSpec):
    """Long short-term memory (Hochreiter & Schmidhuber 1997)."""

    name: Literal["lstm"]  # pyright: ignore[reportIncompatibleVariableOverride]

    def state(self) -> StateSchema:
        """Hidden and cell state, [layers, H] each."""
        return dict.fromkeys(LSTM_STATE, Entry((self.layers, self.hidden_size)))

    def build(self, context: PartContext) -> Lstm:
        lstm = nn.LSTM(context.in_features, self.hidden_size, self.layers, batch_first=True)
        chrono_(lstm, context.span)
        return Lstm(lstm)

    def tensordict_module(self, memory: Lstm, prefix: str = "") -> "LSTMModule":
        """Make TorchRL's own module of the same `nn.LSTM`."""
        from torchrl.modules import LSTMModule

        return LSTMModule(
            lstm=memory.lstm,
            in_keys=[keys.EMBED, *(prefix + key for key in LSTM_STATE)],
            out_keys=[keys.MEMORY, *(("next", prefix + key) for key in LSTM_STATE)],
        )


@spec
class GruSpec(RecurrentSpec):
    """Gated recurrent unit (Cho et al. 2014)."""

    name: Literal["gru"]  # pyright: ignore[reportIncompatibleVariableOverride]

    def state(self) -> StateSchema:
        """The hidden state, [layers, H]."""
        return dict.fromkeys(GRU_STATE, Entry((self.layers, self.hidden_size)))

    def build(self, context: PartContext) -> Gru:
        gru = nn.GRU(context.in_features, self.hidden_size, self.layers, batch_first=True)
        chrono_(gru, context.span)
        return Gru(gru)

    def tensordict_module(self, memory: Gru, prefix: str = "") -> "GRUModule":
        """Make TorchRL's own module of the same `nn.GRU`."""
        from torchrl.modules import GRUModule

        return GRUModule(
            gru=memory.gru,
            in_keys=[keys.EMBED, *(prefix + key for key in GRU_STATE)],
            out_keys=[keys.MEMORY, *(("next", prefix + key) for key in GRU_STATE)],
        )
