"""Memories: what the agent carries from step to step; swapped by `network/memory=lstm|gru|none`."""

from typing import Annotated

from pydantic import Field
from tensordict.nn import TensorDictModule, TensorDictModuleBase
from torch import nn
from torchrl.modules import GRUModule, LSTMModule

from modules import keys
from modules.spec import Spec, spec

PositiveInt = Annotated[int, Field(gt=0)]


class MemorySpec(Spec):
    """Settings of a memory; `build` makes the module `embed` → `memory`."""

    name: str

    def build(self, in_features: int) -> tuple[TensorDictModuleBase, int]:
        """Make the memory; return it with the size of its output."""
        raise NotImplementedError

    def states(self) -> dict[str, tuple[int, ...]]:
        """Keys and shapes (without batch axes) of the recurrent state; empty if there is none."""
        return {}


@spec
class NoMemorySpec(MemorySpec):
    """The feed-forward control: the embedding passes unchanged."""

    name: str

    def build(self, in_features: int) -> tuple[TensorDictModuleBase, int]:
        """Make the identity."""
        return TensorDictModule(nn.Identity(), [keys.EMBED], [keys.MEMORY]), in_features


@spec
class LstmSpec(MemorySpec):
    """Long short-term memory (Hochreiter & Schmidhuber 1997)."""

    name: str
    hidden_size: PositiveInt
    layers: PositiveInt

    def build(self, in_features: int) -> tuple[TensorDictModuleBase, int]:
        """Make the LSTM."""
        h, c = keys.LSTM_STATE
        module = LSTMModule(
            input_size=in_features,
            hidden_size=self.hidden_size,
            num_layers=self.layers,
            in_keys=[keys.EMBED, h, c],
            out_keys=[keys.MEMORY, ("next", h), ("next", c)],
        )
        return module, self.hidden_size

    def states(self) -> dict[str, tuple[int, ...]]:
        """Hidden and cell state, [layers, H] each."""
        return dict.fromkeys(keys.LSTM_STATE, (self.layers, self.hidden_size))


@spec
class GruSpec(MemorySpec):
    """Gated recurrent unit (Cho et al. 2014)."""

    name: str
    hidden_size: PositiveInt
    layers: PositiveInt

    def build(self, in_features: int) -> tuple[TensorDictModuleBase, int]:
        """Make the GRU."""
        (state,) = keys.GRU_STATE
        module = GRUModule(
            input_size=in_features,
            hidden_size=self.hidden_size,
            num_layers=self.layers,
            in_keys=[keys.EMBED, state],
            out_keys=[keys.MEMORY, ("next", state)],
        )
        return module, self.hidden_size

    def states(self) -> dict[str, tuple[int, ...]]:
        """The hidden state, [layers, H]."""
        return dict.fromkeys(keys.GRU_STATE, (self.layers, self.hidden_size))
