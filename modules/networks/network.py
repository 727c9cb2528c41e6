"""Networks: torso → memory → head, on plain tensors and as TorchRL's stack, and the policy that acts on values."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule, TensorDictModuleBase, TensorDictSequential
from torch import Tensor, nn
from torchrl.modules import QValueModule

from modules import keys
from modules.keys import Outputs, State
from modules.losses.allowed import allowed_by, forbid, redraw
from modules.networks.recurrent import MemorySpec, blank

Inputs = TensorDictBase | Mapping[str, Tensor]


class ValueNetwork(Protocol):
    """What losses and policies know of a network.

    `reads`: keys of what it needs beside the recurrent state. `states`: keys of that. `streams`: keys of the values
    that are learned, each from rewards of its own. `allowed`: where an observation says which actions are allowed, or
    None. `tensordict_module` makes the same as such.
    """

    @property
    def reads(self) -> tuple[str, ...]: ...
    @property
    def states(self) -> tuple[str, ...]: ...
    @property
    def streams(self) -> tuple[str, ...]: ...
    @property
    def allowed(self) -> slice | None: ...

    def unroll(self, inputs: Inputs, state: State) -> tuple[Outputs, State]:
        """Run over a stretch of one episode.

        Args:
            inputs: an entry [B, T, …] for each of `reads`.
            state: recurrent state before the first observation, a tensor [B, …] for each of `states`.

        Returns:
            What the head puts out, by name: `action_value` [B, T, A], by which actions are chosen, and what else there
            is, [B, T, …] each; and the state after the last observation.
        """
        ...

    def state_after(self, inputs: Inputs, state: State) -> State:
        """The state that `unroll` returns, without the values."""
        ...

    def combine(self, values: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        """What actions are chosen by, from the values [B, T, A] of each of `streams`."""
        ...

    def tensordict_module(self) -> TensorDictSequential:
        """Make TorchRL's stack of the same parts: what is read → `action_value` and the next state."""
        ...


class RecurrentNetwork(nn.Module):
    """Torso, joined by further inputs if there are any → memory → head.

    Each part is a plain module on tensors. `unroll` calls them one after the other, because on small networks the
    dispatch of TensorDict modules costs as much as their arithmetic; `tensordict_module` puts the same parts into
    TorchRL's stack.

    Args:
        torso: observation [..., *shape] → features.
        inputs: joins further entries to the features; None if there are none.
        memory: see `MemorySpec`.
        head: features → tensors by name, `action_value` [..., A] among them.
        spec: of the memory.
        allowed: where an observation says which actions are allowed; the values of the others are `FORBIDDEN`.
    """

    streams = (keys.ACTION_VALUE,)

    def __init__(
        self,
        torso: nn.Module,
        inputs: Any,
        memory: nn.Module,
        head: nn.Module,
        *,
        spec: MemorySpec,
        allowed: slice | None = None,
    ) -> None:
        super().__init__()
        self.torso, self.inputs, self.memory, self.head = torso, inputs, memory, head
        self.allowed = allowed
        self._spec = spec
        self._further: tuple[str, ...] = () if inputs is None else inputs.reads
        self.reads = (keys.OBSERVATION, *self._further)
        self.states = tuple(spec.state())

    def unroll(self, inputs: Inputs, state: State) -> tuple[Outputs, State]:
        features, state = self._remember(inputs, state)
        outputs = self.head(features)
        if self.allowed is not None:
            allowed = inputs[keys.OBSERVATION][..., self.allowed]
            outputs = outputs | {keys.ACTION_VALUE: forbid(outputs[keys.ACTION_VALUE], allowed)}
        return outputs, state

    def state_after(self, inputs: Inputs, state: State) -> State:
        return self._remember(inputs, state)[1]

    def combine(self, values: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        """The values themselves."""
        del inputs
        return values[keys.ACTION_VALUE]

    def tensordict_module(self) -> TensorDictSequential:
        return TensorDictSequential(self.modules_of())

    def modules_of(self, prefix: str = "", value: str = keys.ACTION_VALUE) -> list[TensorDictModuleBase]:
        """Make the stack's modules; the state's keys begin with `prefix`, the values get the key `value`."""
        torso = TensorDictModule(self.torso, [keys.OBSERVATION], [keys.EMBED])
        joined = [TensorDictModule(self.inputs, [keys.EMBED, *self._further], [keys.EMBED])] if self._further else []
        seen = [] if self.allowed is None else [keys.OBSERVATION]
        head = TensorDictModule(ActionValue(self.head, self.allowed), [keys.MEMORY, *seen], [value])
        return [torso, *joined, self._spec.tensordict_module(self.memory, prefix), head]

    def _remember(self, inputs: Inputs, state: State) -> tuple[Tensor, State]:
        features = self.torso(inputs[keys.OBSERVATION])
        if self._further:
            features = self.inputs(features, *(inputs[key] for key in self._further))
        return self.memory(features, state)


class ActionValue(nn.Module):
    """What actions are chosen by of all that a head puts out."""

    def __init__(self, head: nn.Module, allowed: slice | None) -> None:
        super().__init__()
        self.head, self._allowed = head, allowed

    def forward(self, features: Tensor, observation: Tensor | None = None) -> Tensor:
        """[..., features] → [..., A]; where some actions may be forbidden, the observation says which."""
        values = self.head(features)[keys.ACTION_VALUE]
        return values if observation is None else forbid(values, observation[..., self._allowed])


def torchrl_policy(network: ValueNetwork) -> TensorDictSequential:
    """Make the greedy policy of a network in TorchRL's parts: torso → memory → head → `QValueModule`.

    It acts in any TorchRL code: `env.rollout`, a `Collector`, and in recurrent mode on rows.
    """
    return TensorDictSequential([*network.tensordict_module(), QValueModule(action_space="categorical")])


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
        tell_values: write the values of the action taken and of the best one too.
    """

    def __init__(
        self,
        network: ValueNetwork,
        choose: Choose = greedy,
        probability: Probability | None = None,
        *,
        tell_values: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self._choose, self._probability, self._tell_values = choose, probability, tell_values
        self._reads, self._states, self._allowed = network.reads, network.states, network.allowed
        self.in_keys = [*network.reads, keys.IS_INIT, *network.states]
        probabilities = [] if probability is None else [keys.BEHAVIOUR]
        values = [keys.ACTED_VALUE, keys.GREEDY_VALUE] if tell_values else []
        self.out_keys = [keys.ACTION, *probabilities, *values, *(("next", key) for key in network.states)]  # pyright: ignore[reportAttributeAccessIssue] - nested

    def telling(self, see: Callable[[Tensor], object]) -> "Policy":
        """Make the same policy, which shows `see` the values [N, A] that it chooses by."""

        def choose(values: Tensor) -> Tensor:
            see(values)
            return self._choose(values)

        return Policy(self.network, choose, self._probability, tell_values=self._tell_values)

    def forward(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, tensordict: TensorDictBase
    ) -> TensorDictBase:
        """Act on [N]: writes `action` [N] and the next recurrent state; a state from before a reset is not read."""
        begins = tensordict[keys.IS_INIT]
        state = tuple(blank(tensordict[key], begins) for key in self._states)
        now = {key: tensordict[key].unsqueeze(1) for key in self._reads}
        outputs, state = self.network.unroll(now, state)
        values = outputs[keys.ACTION_VALUE].squeeze(1)
        action = self._choose(values)
        if self._allowed is not None:
            action = redraw(action, allowed_by(values))
        tensordict.set(keys.ACTION, action)
        if self._probability is not None:
            tensordict.set(keys.BEHAVIOUR, self._probability_of(values, action))
        if self._tell_values:
            tensordict.set(keys.ACTED_VALUE, values.gather(-1, action.unsqueeze(-1)).squeeze(-1))
            tensordict.set(keys.GREEDY_VALUE, values.amax(-1))
        for key, value in zip(self._states, state, strict=True):
            tensordict.set(("next", key), value)
        return tensordict

    def _probability_of(self, values: Tensor, action: Tensor) -> Tensor:
        """Probability [N] with which `action` is taken: where some are not allowed, those are drawn again."""
        assert self._probability is not None
        if self._allowed is None:
            return self._probability(values, action)
        allowed = allowed_by(values)
        every = [self._probability(values, torch.full_like(action, a)) for a in range(values.shape[-1])]
        again = (torch.stack(every, -1) * ~allowed).sum(-1)
        return self._probability(values, action) + again / allowed.sum(-1).clamp_min(1)
