"""Networks: torso → memory → head, on plain tensors; TensorDict and TorchRL are imported only where they are used."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from torch import Tensor, nn

from modules import keys
from modules.keys import Outputs, State
from modules.losses.allowed import forbid
from modules.networks.recurrent import MemorySpec

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from tensordict.nn import TensorDictSequential

Inputs: TypeAlias = "TensorDictBase | Mapping[str, Tensor]"


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

    def tensordict_module(self) -> "TensorDictSequential":
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

    def tensordict_module(self) -> "TensorDictSequential":
        from tensordict.nn import TensorDictSequential

        from modules.networks.tensordict_modules import modules_of

        return TensorDictSequential(modules_of(self))

    @property
    def memory_spec(self) -> MemorySpec:
        """Settings of the memory."""
        return self._spec

    def _remember(self, inputs: Inputs, state: State) -> tuple[Tensor, State]:
        features = self.torso(inputs[keys.OBSERVATION])
        if self._further:
            features = self.inputs(features, *(inputs[key] for key in self._further))
        return self.memory(features, state)


def greedy(values: Tensor) -> Tensor:
    """The best action, [N, A] → [N]."""
    return values.argmax(-1)
