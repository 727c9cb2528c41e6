"""Networks: torso → memory → head, and the policy that acts on its values."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field, InstanceOf
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule, TensorDictModuleBase, TensorDictSequential
from torch import Tensor, nn
from torchrl.data import Categorical, Unbounded
from torchrl.envs import Compose, TensorDictPrimer, Transform
from torchrl.modules import QValueModule

from modules import keys
from modules.keys import Spaces
from modules.networks.heads import HeadSpec
from modules.networks.inputs import InputsSpec, PreviousStep
from modules.networks.memory import Memory, MemorySpec, State
from modules.networks.torsos import TorsoSpec
from modules.spec import Spec, spec


class RecurrentNetwork(TensorDictSequential):
    """Torso, joined by further inputs if there are any → memory → head.

    It is a TensorDict module for everything that wants one; `unroll` does the same on plain tensors, because on
    small networks the dispatch of three TensorDict modules costs as much as their arithmetic.
    """

    def __init__(
        self,
        torso: TensorDictModule,
        joined: TensorDictModule | None,
        memory: TensorDictModuleBase,
        head: TensorDictModule,
    ) -> None:
        super().__init__([torso, *([] if joined is None else [joined]), memory, head])
        self._further = [] if joined is None else [str(key) for key in joined.in_keys[1:]]

    @property
    def reads(self) -> tuple[str, ...]:
        """Keys of what `unroll` needs beside the recurrent state."""
        return (keys.OBSERVATION, *self._further)

    @property
    def _parts(self) -> tuple[nn.Module, list[nn.Module], Memory, nn.Module]:
        torso, *joined, memory, head = self.module
        return torso.module, [part.module for part in joined], memory, head.module  # pyright: ignore[reportReturnType]

    def unroll(self, inputs: TensorDictBase | Mapping[str, Tensor], state: State) -> tuple[Tensor, State]:
        """Run over a stretch of one episode.

        Args:
            inputs: an entry [B, T, …] for each of `reads`.
            state: recurrent state before the first observation, [B, layers, H] each; empty without memory.

        Returns:
            Action values [B, T, A] and the state after the last observation.
        """
        embed, state = self._remember(inputs, state)
        return self._parts[-1](embed), state

    def state_after(self, inputs: TensorDictBase | Mapping[str, Tensor], state: State) -> State:
        """The state that `unroll` returns, without the values."""
        return self._remember(inputs, state)[1]

    def _remember(self, inputs: TensorDictBase | Mapping[str, Tensor], state: State) -> tuple[Tensor, State]:
        torso, joined, memory, _ = self._parts
        embed = torso(inputs[keys.OBSERVATION])
        for join in joined:
            embed = join(embed, *(inputs[key] for key in self._further))
        return memory.run(embed, state)


Choose = Callable[[Tensor], Tensor]  # action values [N, A] → actions [N]


def greedy(values: Tensor) -> Tensor:
    """The best action, [N, A] → [N]."""
    return values.argmax(-1)


class Policy(TensorDictSequential):
    """Network → `QValueModule`, stepped on plain tensors: observation, state → action, next state.

    `choose` decides among the actions; by default the best one is taken.
    """

    def __init__(self, network: RecurrentNetwork, n_actions: int, choose: Choose = greedy) -> None:
        super().__init__([*network, QValueModule(action_space="categorical", spec=Categorical(n_actions))])
        self._network = [network]  # in a list, so that its parameters are not registered twice
        self._choose = choose
        self._states = [key[1] for key in self.out_keys if isinstance(key, tuple)]
        self.select_out_keys(keys.ACTION, *(("next", key) for key in self._states))

    def forward(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, tensordict: TensorDictBase
    ) -> TensorDictBase:
        """Act on [N]: writes `action` [N] and the next recurrent state; a state from before a reset is not read."""
        network = self._network[0]
        fresh = tensordict[keys.IS_INIT].unsqueeze(-1)
        state = tuple(tensordict[key].masked_fill(fresh, 0.0) for key in self._states)
        now = {key: tensordict[key].unsqueeze(1) for key in network.reads}
        values, state = network.unroll(now, state)
        tensordict.set(keys.ACTION, self._choose(values.squeeze(1)))
        for key, value in zip(self._states, state, strict=True):
            tensordict.set(("next", key), value)
        return tensordict


class ZeroState(TensorDictPrimer):
    """Provides the zero recurrent state at each reset: without it a policy forgets.

    TorchRL's own reset looks everything up in its specs each time, a twentieth of acting where episodes are short.
    After a reset TorchRL itself keeps the environments that go on as they were.
    """

    def __init__(self, states: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__({key: Unbounded(torch.Size(shape)) for key, shape in states.items()}, expand_specs=True)
        self._shapes = dict(states)

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        del tensordict
        for key, shape in self._shapes.items():
            zero = torch.zeros((*tensordict_reset.batch_size, *shape), device=tensordict_reset.device)
            tensordict_reset.set(key, zero)
        return tensordict_reset


@spec
class NetworkSpec(Spec):
    """A recurrent action-value network.

    Attributes:
        span: steps over which the memory keeps what it holds before anything is learned (`memory.chrono_`); 0 = as
            PyTorch initialises it.
    """

    span: Annotated[int, Field(ge=0)]
    torso: InstanceOf[TorsoSpec]
    inputs: InstanceOf[InputsSpec]
    memory: InstanceOf[MemorySpec]
    head: InstanceOf[HeadSpec]

    def needs(self, run: Any) -> Iterator[str]:
        """The torso must fit the observations, the memory and the head what comes before them."""
        yield from self.torso.fits(run.spaces)
        if self.torso.writes != self.head.reads:
            yield (
                f"network/torso gives a {self.torso.writes} and network/head needs a {self.head.reads}: "
                "network/torso=table and network/head=table go together"
            )
        if self.torso.writes != "features" and self.inputs.reads:
            yield "network/torso=table cannot be joined by further inputs: use network/inputs=none"
        if self.torso.writes != "features" and self.memory.states():
            yield f"network/memory={self.memory.name} cannot remember rows of a table: use network/memory=none"

    def build(self, spaces: Spaces) -> "RecurrentNetwork":
        """Make the network: observation [..., *shape] (and recurrent state) → action_value [..., A]."""
        memory, features = self.memory.build(self.torso.out_features + self.inputs.size(spaces), self.span)
        torso, head = self.torso.build(spaces), self.head.build(features, spaces.n_actions)
        return RecurrentNetwork(torso, self.inputs.build(spaces) if self.inputs.reads else None, memory, head)

    def primer(self) -> Transform:
        """Make what provides, at each reset, the zero recurrent state and, at each step, the further inputs."""
        zero = ZeroState(self.memory.states())
        return Compose(*[zero, PreviousStep()]) if self.inputs.reads else zero
