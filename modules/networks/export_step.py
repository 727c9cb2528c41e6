"""One step of a greedy policy as a plain PyTorch module: tensors by name in, tensors by name out, for torch.export."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from modules import keys
from modules.keys import Spaces, StateSchema
from modules.networks.network import ValueNetwork, greedy
from modules.previous_step import SOURCES, before_the_first

NEXT = "next_"  # in front of the states' keys among the outputs


class GreedyStep(nn.Module):
    """The network's best action at one step of N episodes.

    At an episode's first step the recurrent state is zeros, the previous action −1 and the previous rewards 0; there is
    no entry that says so.

    Args:
        network: gives the values; must be a module.
    """

    def __init__(self, network: ValueNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Choose.

        Args:
            inputs: an entry [N, …] for each of the network's `reads` and `states`.

        Returns:
            `action` [N], the `action_value` [N, A] that it is the greatest of, and the states after the step under
            their keys with `NEXT` in front.
        """
        network = self.network
        now = {key: inputs[key].unsqueeze(1) for key in network.reads}
        outputs, state = network.unroll(now, tuple(inputs[key] for key in network.states))
        values = outputs[keys.ACTION_VALUE].squeeze(1)
        after = {NEXT + key: value for key, value in zip(network.states, state, strict=True)}
        return {keys.ACTION: greedy(values), keys.ACTION_VALUE: values, **after}


def first_inputs(network: ValueNetwork, spaces: Spaces, state: StateSchema, n: int) -> dict[str, Tensor]:
    """Make the inputs of the first step of `n` episodes, with observations of zeros.

    Args:
        network: that reads them.
        spaces: of the environment.
        state: schema of the recurrent state.
        n: episodes.
    """
    every = {
        keys.OBSERVATION: torch.zeros(n, *spaces.observation_shape, dtype=spaces.observation_dtype),
        **{key: before_the_first(key, n) for key in SOURCES},
        keys.ARM: torch.zeros(n, dtype=torch.int64),
    }
    return {key: every[key] for key in network.reads} | {key: entry.zeros(n) for key, entry in state.items()}
