"""Agent57's two networks: extrinsic and intrinsic values apart, combined only to choose."""

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor, nn

from modules import keys
from modules.losses.ops import combined_values
from modules.networks.memory import State
from modules.networks.nets import Inputs, RecurrentNetwork

INTRINSIC = "intrinsic_"  # in front of the state's keys of the second network


class SplitNetwork(TensorDictModuleBase):
    """Q = Q_e + β_j Q_i of two networks of the same architecture, each with a recurrent state of its own.

    Source: Agent57 (Badia et al. 2020), section 3.1. Its appendix found the simple sum as good as
    h(h⁻¹(Q_e) + β_j h⁻¹(Q_i)), which adds up what the rescaled values stand for.

    Args:
        extrinsic: network of the first stream, the environment's rewards.
        intrinsic: network of the second, the novelty's.
        betas: β of each arm.
        rescale_eps: ε of the h that the combination undoes and puts back; 0 for the simple sum.
    """

    betas: Tensor

    def __init__(
        self, extrinsic: RecurrentNetwork, intrinsic: RecurrentNetwork, betas: tuple[float, ...], rescale_eps: float
    ) -> None:
        super().__init__()
        self.streams = nn.ModuleList([extrinsic, intrinsic])
        self.register_buffer("betas", torch.tensor(betas), persistent=False)  # a setting, no weight
        self.rescale_eps = rescale_eps
        self.in_keys = [*self.reads, *self.states]
        self.out_keys = [keys.ACTION_VALUE, *(("next", key) for key in self.states)]  # pyright: ignore[reportAttributeAccessIssue] - nested

    @property
    def reads(self) -> tuple[str, ...]:
        """Keys of what `unroll` and `combined` need beside the recurrent state."""
        return tuple(dict.fromkeys((*self._both[0].reads, keys.ARM)))

    @property
    def states(self) -> tuple[str, ...]:
        """Keys of the recurrent states, those of the extrinsic network first."""
        mine = self._both[0].states
        return (*mine, *(INTRINSIC + key for key in mine))

    @property
    def _both(self) -> tuple[RecurrentNetwork, RecurrentNetwork]:
        extrinsic, intrinsic = self.streams
        assert isinstance(extrinsic, RecurrentNetwork)
        assert isinstance(intrinsic, RecurrentNetwork)
        return extrinsic, intrinsic

    def unroll(self, inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """Run over a stretch of one episode: values [B, T, 2, A], extrinsic ones first, and the states after it."""
        half = len(state) // 2
        (extrinsic, e), (intrinsic, i) = (
            stream.unroll(inputs, part) for stream, part in zip(self._both, (state[:half], state[half:]), strict=True)
        )
        return torch.stack((extrinsic, intrinsic), -2), (*e, *i)

    def state_after(self, inputs: Inputs, state: State) -> State:
        """The states that `unroll` returns, without the values."""
        half = len(state) // 2
        extrinsic, intrinsic = self._both
        return (*extrinsic.state_after(inputs, state[:half]), *intrinsic.state_after(inputs, state[half:]))

    def combined(self, values: Tensor, inputs: Inputs) -> Tensor:
        """Both streams' values as one, [B, T, 2, A] → [B, T, A]."""
        beta = self.betas[inputs[keys.ARM]].unsqueeze(-1)
        return combined_values(values[..., 0, :], values[..., 1, :], beta, self.rescale_eps)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Values of [B, T] for choosing, and the states after the last step.

        Args:
            tensordict: an entry [B, T, …] for each of `reads`; each of `states` is read at the first step.
        """
        values, state = self.unroll(tensordict, tuple(tensordict[key][:, 0] for key in self.states))
        tensordict.set(keys.ACTION_VALUE, self.combined(values, tensordict))
        for key, last in zip(self.states, state, strict=True):
            tensordict.set(("next", key), last.unsqueeze(1).expand(-1, values.shape[1], -1, -1))
        return tensordict
