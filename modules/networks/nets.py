"""Networks: torso → memory → head, and the policy that acts on its values."""

from collections.abc import Callable, Mapping
from typing import Protocol

from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule, TensorDictModuleBase, TensorDictSequential
from torch import Tensor, nn

from modules import keys
from modules.networks.memory import Memory, State

Inputs = TensorDictBase | Mapping[str, Tensor]


class ValueNetwork(Protocol):
    """What losses and policies know of a network.

    `reads`: keys of what it needs beside the recurrent state. `states`: keys of that.
    """

    @property
    def reads(self) -> tuple[str, ...]: ...  # noqa: D102 - said above

    @property
    def states(self) -> tuple[str, ...]: ...  # noqa: D102

    def unroll(self, inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """Values [B, T, …] over a stretch of one episode, and the state after it."""
        ...

    def state_after(self, inputs: Inputs, state: State) -> State:
        """The state that `unroll` returns."""
        ...

    def combined(self, values: Tensor, inputs: Inputs) -> Tensor:
        """What to choose actions by, [B, T, A]."""
        ...


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
    def states(self) -> tuple[str, ...]:
        """Keys of the recurrent state."""
        return tuple(str(key[1]) for key in self.out_keys if isinstance(key, tuple))

    @property
    def _parts(self) -> tuple[nn.Module, list[nn.Module], Memory, nn.Module]:
        torso, *joined, memory, head = self.module
        return torso.module, [part.module for part in joined], memory, head.module  # pyright: ignore[reportReturnType]

    def unroll(self, inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """Run over a stretch of one episode.

        Args:
            inputs: an entry [B, T, …] for each of `reads`.
            state: recurrent state before the first observation, [B, layers, H] each; empty without memory.

        Returns:
            Action values [B, T, A] and the state after the last observation.
        """
        embed, state = self._remember(inputs, state)
        return self._parts[-1](embed), state

    def state_after(self, inputs: Inputs, state: State) -> State:
        """The state that `unroll` returns, without the values."""
        return self._remember(inputs, state)[1]

    def combined(self, values: Tensor, inputs: Inputs) -> Tensor:
        """The values themselves."""
        del inputs
        return values

    def _remember(self, inputs: Inputs, state: State) -> tuple[Tensor, State]:
        torso, joined, memory, _ = self._parts
        embed = torso(inputs[keys.OBSERVATION])
        for join in joined:
            embed = join(embed, *(inputs[key] for key in self._further))
        return memory.run(embed, state)


Choose = Callable[[Tensor], Tensor]  # action values [N, A] → actions [N]
Probability = Callable[[Tensor, Tensor], Tensor]  # action values [N, A], actions [N] → their probabilities [N]


def greedy(values: Tensor) -> Tensor:
    """The best action, [N, A] → [N]."""
    return values.argmax(-1)


class Policy(TensorDictModuleBase):
    """A network's values and a choice among them, stepped on plain tensors: observation, state → action, next state.

    Args:
        network: gives the values.
        choose: decides among the actions; by default the best one is taken.
        probability: with which `choose` takes an action, if it is to be written too.
    """

    def __init__(self, network: ValueNetwork, choose: Choose = greedy, probability: Probability | None = None) -> None:
        super().__init__()
        self.network = network
        self._choose, self._probability = choose, probability
        self._reads, self._states = network.reads, network.states  # once: they are made anew whenever asked for
        self.in_keys = [*network.reads, keys.IS_INIT, *network.states]
        written = [keys.ACTION] if probability is None else [keys.ACTION, keys.BEHAVIOUR]
        self.out_keys = [*written, *(("next", key) for key in network.states)]  # pyright: ignore[reportAttributeAccessIssue] - nested

    def forward(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, tensordict: TensorDictBase
    ) -> TensorDictBase:
        """Act on [N]: writes `action` [N] and the next recurrent state; a state from before a reset is not read."""
        network = self.network
        fresh = tensordict[keys.IS_INIT].unsqueeze(-1)
        state = tuple(tensordict[key].masked_fill(fresh, 0.0) for key in self._states)
        now = {key: tensordict[key].unsqueeze(1) for key in self._reads}
        values, state = network.unroll(now, state)
        values = network.combined(values, now).squeeze(1)
        action = self._choose(values)
        tensordict.set(keys.ACTION, action)
        if self._probability is not None:
            tensordict.set(keys.BEHAVIOUR, self._probability(values, action))
        for key, value in zip(self._states, state, strict=True):
            tensordict.set(("next", key), value)
        return tensordict
