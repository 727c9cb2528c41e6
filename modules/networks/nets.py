"""Networks: torso → memory → head, and the policy that acts on its values."""

from collections.abc import Iterator
from typing import Any

import torch
from pydantic import InstanceOf
from tensordict.nn import TensorDictSequential
from torchrl.data import Categorical, Unbounded
from torchrl.envs import TensorDictPrimer
from torchrl.modules import QValueModule

from modules import keys
from modules.keys import Spaces
from modules.networks.heads import HeadSpec
from modules.networks.memory import MemorySpec
from modules.networks.torsos import ConvSpec, MlpSpec, TorsoSpec, is_image
from modules.spec import Spec, spec


@spec
class NetworkSpec(Spec):
    """A recurrent action-value network."""

    torso: InstanceOf[TorsoSpec]
    memory: InstanceOf[MemorySpec]
    head: InstanceOf[HeadSpec]

    def needs(self, run: Any) -> Iterator[str]:
        """The torso must fit the observations."""
        spaces: Spaces = run.spaces
        shape = list(spaces.observation_shape)
        if isinstance(self.torso, ConvSpec):
            if not self.torso.layers_agree():
                yield "network.torso: channels, kernels and strides must have one entry per layer each"
            elif not is_image(spaces):
                yield (
                    f"network/torso=conv needs uint8 images [C, H, W], "
                    f"but observations are {shape}: use network/torso=mlp"
                )
            elif min(self.torso.output_size(*spaces.observation_shape[1:])) < 1:
                yield f"network.torso: images of {shape} are too small for these kernels and strides"
        if isinstance(self.torso, MlpSpec) and len(shape) != 1:
            yield f"network/torso=mlp needs vector observations, but they are {shape}: use network/torso=conv"

    def build(self, spaces: Spaces) -> TensorDictSequential:
        """Make the network: observation [..., *shape] (and recurrent state) → action_value [..., A]."""
        memory, features = self.memory.build(self.torso.out_features)
        return TensorDictSequential([self.torso.build(spaces), memory, self.head.build(features, spaces.n_actions)])

    def primer(self) -> TensorDictPrimer:
        """Make the transform that provides the zero recurrent state at each reset: without it a policy forgets."""
        return TensorDictPrimer(
            {key: Unbounded(torch.Size(shape)) for key, shape in self.memory.states().items()}, expand_specs=True
        )


def greedy(network: TensorDictSequential, n_actions: int) -> TensorDictSequential:
    """Append the choice of the best action; only the action and the next recurrent state leave the policy."""
    choose = QValueModule(action_space="categorical", spec=Categorical(n_actions))
    policy = TensorDictSequential([*network, choose])
    states = [key for key in policy.out_keys if isinstance(key, tuple)]
    return policy.select_out_keys(keys.ACTION, *states)  # pyright: ignore[reportReturnType]
