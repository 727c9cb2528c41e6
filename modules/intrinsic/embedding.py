"""Embeddings for the episodic memory: what the agent controls (Badia et al. 2020, NGU, section 2), or random."""

import copy
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import InstanceOf
from tensordict import TensorDictBase
from torch import Tensor, nn
from torch.func import stack_module_state

from modules.intrinsic.base import IntrinsicContext
from modules.intrinsic.parts import AuxiliaryOptimizerSpec, encoder, last_steps
from modules.intrinsic.stacked import stack_layers
from modules.keys import Spaces
from modules.metrics import Metric
from modules.networks.torsos import TorsoSpec
from modules.spec import Positive, Spec, spec
from modules.stateful import HasState, Stateful


class Acting:
    """An embedding while acting: one network for all environments, which stays the same within an episode."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    @torch.no_grad()
    def __call__(self, observation: Tensor) -> Tensor:
        """Embed the observations [N, *shape] of N environments, [N, features], without gradient."""
        return self._network(observation)

    def refresh(self, mask: Tensor) -> None:
        """Take over the newest weights for the environments in `mask`, bool [N], whose episodes just started."""


class Embedding(Stateful):
    """An embedding f and how it is learned; networks and optimiser are saved."""

    network: nn.Module

    def step(self, rows: TensorDictBase) -> dict[str, Tensor]:
        """Learn from one batch of rows; return detached measures, nothing if there is nothing to learn."""
        return {}

    def acting(self, num_envs: int) -> Acting:
        """Make the embedding that N environments act with, by default `network`, from which new weights are read."""
        return Acting(self.network)


@spec
class EmbeddingSpec(Spec):
    """Settings of an embedding; `build` makes it, with weights from the global random stream.

    Attributes:
        torso: body of the network; a linear layer to `features` follows.
        features: size of the embedding.
    """

    torso: InstanceOf[TorsoSpec]
    features: Positive

    def build(self, context: IntrinsicContext) -> Embedding:
        """Make the embedding for these observations and actions."""
        raise NotImplementedError


@spec
class RandomEmbeddingSpec(EmbeddingSpec):
    """A fixed random network: sees everything, also what the agent cannot influence."""

    def build(self, context: IntrinsicContext) -> "RandomEmbedding":
        return RandomEmbedding(encoder(self.torso, context.spaces, self.features).to(context.device))


@spec
class InverseDynamicsSpec(EmbeddingSpec):
    """An embedding that is learned by telling the action from the observations before and after it.

    Attributes:
        hidden: units of the layer between two embeddings and the actions.
        last_frames: steps at the end of each row that are learned from.
        descent: optimiser of embedding and head; its weight decay is NGU's L2 weight of action prediction.
    """

    metrics = (
        Metric(
            "intrinsic/inverse_loss",
            "nats",
            "mean cross-entropy of the action that the embedding is learned by, over the updates",
        ),
        Metric("intrinsic/inverse_accuracy", "share", "actions that it tells right"),
    )

    hidden: Positive
    last_frames: Positive
    descent: InstanceOf[AuxiliaryOptimizerSpec]

    def build(self, context: IntrinsicContext) -> "InverseDynamics":
        return InverseDynamics(self, context.spaces, context.device)


class RandomEmbedding(Embedding):
    """A network that never learns."""

    def __init__(self, network: nn.Module) -> None:
        self.network: nn.Module = network.requires_grad_(False)

    def parts(self) -> Mapping[str, HasState]:
        return {"network": self.network}


class InverseDynamics(Embedding):
    """Embedding f with a head that reads the action a_t off f(x_t) and f(x_{t+1}).

    Loss: cross-entropy of a_t, the mean over real steps among the last of each row (NGU, section 2 and table 6).
    """

    def __init__(self, settings: InverseDynamicsSpec, spaces: Spaces, device: torch.device) -> None:
        self.settings = settings
        self.network: nn.Module = encoder(settings.torso, spaces, settings.features).to(device)
        self.head = nn.Sequential(
            nn.Linear(2 * settings.features, settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, spaces.n_actions)
        ).to(device)
        self._descent = settings.descent.build([*self.network.parameters(), *self.head.parameters()])

    def logits(self, before: Tensor, after: Tensor) -> Tensor:
        """Scores of the actions, [..., A], between two embeddings [..., features]."""
        return self.head(torch.cat((before, after), -1))

    def step(self, rows: TensorDictBase) -> dict[str, Tensor]:
        """Learn from the last steps of the rows, one of which is real; return loss and share of actions told right."""
        steps = last_steps(rows, self.settings.last_frames)
        embedding = self.network(steps.observation)  # one pass for both sides: neighbours share an observation
        logits = self.logits(embedding[:, :-1][steps.mask], embedding[:, 1:][steps.mask])
        action = steps.action[steps.mask]
        loss = F.cross_entropy(logits, action)
        self._descent.step(loss, "the action prediction of the embedding")
        accuracy = (logits.argmax(-1) == action).float().mean()
        return {"inverse_loss": loss.detach(), "inverse_accuracy": accuracy}

    def acting(self, num_envs: int) -> "PerEnvironment":
        return PerEnvironment(self.network, num_envs)

    def parts(self) -> Mapping[str, HasState]:
        return {"network": self.network, "head": self.head, "descent": self._descent}


class PerEnvironment(Acting):
    """A network with parameters of its own for each environment, [N, …], all evaluated in one call.

    NGU renews the embedding once per episode: f must not change inside one, or the memory would compare embeddings
    of different networks. Episodes end at different times, so the environments hold different versions of f.
    It takes N times the network's memory.
    """

    def __init__(self, network: nn.Module, num_envs: int) -> None:
        super().__init__(network)
        parameters, buffers = stack_module_state([network] * num_envs)
        # Matrices are laid out for vectors from the left, which is a third faster than for vectors from the right.
        self._stacked = {
            name: value.detach().mT.contiguous().mT if value.dim() == 3 else value.detach()
            for name, value in (parameters | buffers).items()
        }
        form = copy.deepcopy(network).to("meta")  # what to compute; the numbers come from outside
        self._side_by_side = stack_layers(form, self._stacked)

    @torch.no_grad()
    def __call__(self, observation: Tensor) -> Tensor:
        """[N, *shape] → [N, features], row i with the weights of environment i."""
        return self._side_by_side(observation.unsqueeze(1)).squeeze(1)

    @torch.no_grad()
    def refresh(self, mask: Tensor) -> None:
        if not mask.any():
            return
        newest = {**dict(self._network.named_parameters()), **dict(self._network.named_buffers())}
        for name, copies in self._stacked.items():
            copies[mask] = newest[name].to(copies)
