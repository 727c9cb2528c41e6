"""Networks as TensorDict modules: TorchRL's stack of the same parts, and the policy that acts on values."""

from collections.abc import Callable
from itertools import pairwise

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule, TensorDictModuleBase, TensorDictSequential
from torch import Tensor, nn
from torchrl.modules import QValueModule, recurrent_mode

from modules import keys
from modules.losses.allowed import allowed_by, forbid, redraw
from modules.networks.network import RecurrentNetwork, ValueNetwork, greedy
from modules.networks.recurrent import blank, spread

Choose = Callable[[Tensor], Tensor]  # action values [N, A] → actions [N]
Probability = Callable[[Tensor, Tensor], Tensor]  # action values [N, A], actions [N] → their probabilities [N]


def modules_of(
    network: RecurrentNetwork, prefix: str = "", value: str = keys.ACTION_VALUE
) -> list[TensorDictModuleBase]:
    """Make the stack's modules; the state's keys begin with `prefix`, the values get the key `value`."""
    further = network.reads[1:]
    torso = TensorDictModule(network.torso, [keys.OBSERVATION], [keys.EMBED])
    joined = [TensorDictModule(network.inputs, [keys.EMBED, *further], [keys.EMBED])] if further else []
    seen = [] if network.allowed is None else [keys.OBSERVATION]
    head = TensorDictModule(ActionValue(network.head, network.allowed), [keys.MEMORY, *seen], [value])
    return [torso, *joined, network.memory_spec.tensordict_module(network.memory, prefix), head]


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


class RecurrentModule(TensorDictModuleBase):
    """A memory as TorchRL's `LSTMModule` behaves: one step of [N], or in recurrent mode rows [B, T].

    A step begins with zeros where `is_init` is set; in recurrent mode the state that is stored there counts. The next
    state of a row stands at its last step, with zeros before it.
    """

    def __init__(self, memory: nn.Module, states: list[str]) -> None:
        super().__init__()
        self.memory, self._states = memory, states
        self.in_keys = [keys.EMBED, *states, keys.IS_INIT]
        self.out_keys = [keys.MEMORY, *(("next", key) for key in states)]  # pyright: ignore[reportAttributeAccessIssue] - nested

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write `memory` and the next state."""
        batch = tensordict.batch_size
        axes = (-1, batch[-1]) if recurrent_mode() else (-1,)
        flat = tensordict.select(*self.in_keys).reshape(*axes)
        embed, begins = flat[keys.EMBED], flat[keys.IS_INIT].squeeze(-1)
        state = [flat[key] for key in self._states]
        if recurrent_mode():
            out, after = self._rows(embed, state, begins)
        else:
            out, after = self.memory(embed.unsqueeze(1), tuple(blank(value, begins) for value in state))
            out = out.squeeze(1)
        tensordict.set(keys.MEMORY, out.reshape(*batch, out.shape[-1]))
        for key, value in zip(self._states, after, strict=True):
            tensordict.set(("next", key), value.reshape(*batch, *value.shape[len(axes) :]))
        return tensordict

    def _rows(self, embed: Tensor, stored: list[Tensor], begins: Tensor) -> tuple[Tensor, list[Tensor]]:
        steps = embed.shape[1]
        starts = [0, *(torch.nonzero(begins[:, 1:].any(0)).squeeze(-1) + 1).tolist(), steps]
        state, outs = tuple(value[:, 0] for value in stored), []
        for start, end in pairwise(starts):
            again = begins[:, start]
            state = tuple(
                torch.where(spread(again, old), value[:, start], old) for old, value in zip(state, stored, strict=True)
            )
            out, state = self.memory(embed[:, start:end], state)
            outs.append(out)
        after = [torch.zeros_like(value) for value in stored]
        for value, last in zip(after, state, strict=True):
            value[:, -1] = last
        return torch.cat(outs, 1), after


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
