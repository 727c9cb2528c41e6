"""Agent57's two networks: extrinsic and intrinsic values apart, combined only to choose."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from modules import keys
from modules.keys import Outputs, State
from modules.losses.ops import combined_values
from modules.networks.network import Inputs, RecurrentNetwork

if TYPE_CHECKING:
    from tensordict.nn import TensorDictSequential

EXTRINSIC, INTRINSIC = "extrinsic_value", "intrinsic_value"
PREFIX = "intrinsic_"  # in front of the state's keys of the second network


class Combination(nn.Module):
    """Q = Q_e + β_j Q_i, or h(h⁻¹(Q_e) + β_j h⁻¹(Q_i)), which adds up what the rescaled values stand for.

    Source: Agent57 (Badia et al. 2020), section 3.1; its appendix found both as good.

    Args:
        betas: β of each arm.
        rescale_eps: ε of the h that the combination undoes and puts back; 0 for the simple sum.
    """

    betas: Tensor

    def __init__(self, betas: tuple[float, ...], rescale_eps: float) -> None:
        super().__init__()
        self.register_buffer("betas", torch.tensor(betas), persistent=False)  # a setting, no weight
        self.rescale_eps = rescale_eps

    def forward(self, extrinsic: Tensor, intrinsic: Tensor, arm: Tensor) -> Tensor:
        """Values [..., A] of both and the number of the arm [...] → [..., A]."""
        return combined_values(extrinsic, intrinsic, self.betas[arm].unsqueeze(-1), self.rescale_eps)


class TwoStreamNetwork(nn.Module):
    """Two networks of the same architecture, each with a recurrent state of its own.

    Args:
        extrinsic: learns the environment's rewards.
        intrinsic: learns the intrinsic rewards.
        combination: of their values.
    """

    streams = (EXTRINSIC, INTRINSIC)

    def __init__(self, extrinsic: RecurrentNetwork, intrinsic: RecurrentNetwork, combination: Combination) -> None:
        super().__init__()
        self.extrinsic, self.intrinsic, self.combination = extrinsic, intrinsic, combination
        self.reads = tuple(dict.fromkeys((*extrinsic.reads, keys.ARM)))
        self.allowed = extrinsic.allowed
        self.states = (*extrinsic.states, *(PREFIX + key for key in intrinsic.states))

    @property
    def independent(self) -> tuple[nn.Module, ...]:
        """The networks, which share no parameter."""
        return self.extrinsic, self.intrinsic

    def unroll(self, inputs: Inputs, state: State) -> tuple[Outputs, State]:
        half = len(state) // 2
        extrinsic, e = self.extrinsic.unroll(inputs, state[:half])
        intrinsic, i = self.intrinsic.unroll(inputs, state[half:])
        values = {EXTRINSIC: extrinsic[keys.ACTION_VALUE], INTRINSIC: intrinsic[keys.ACTION_VALUE]}
        return values | {keys.ACTION_VALUE: self.combine(values, inputs)}, (*e, *i)

    def state_after(self, inputs: Inputs, state: State) -> State:
        half = len(state) // 2
        e, i = self.extrinsic.state_after(inputs, state[:half]), self.intrinsic.state_after(inputs, state[half:])
        return (*e, *i)

    def combine(self, values: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        return self.combination(values[EXTRINSIC], values[INTRINSIC], inputs[keys.ARM])

    def tensordict_module(self) -> "TensorDictSequential":
        from tensordict.nn import TensorDictModule, TensorDictSequential

        from modules.networks.tensordict_modules import modules_of

        combination = TensorDictModule(self.combination, [EXTRINSIC, INTRINSIC, keys.ARM], [keys.ACTION_VALUE])
        streams = (*modules_of(self.extrinsic, value=EXTRINSIC), *modules_of(self.intrinsic, PREFIX, INTRINSIC))
        return TensorDictSequential([*streams, combination])
