"""Settings and rows for the tests of the learned parts."""

import torch
from tensordict import TensorDict
from torch import Tensor

from modules import keys
from modules.intrinsic.parts import AuxiliaryOptimizerSpec
from modules.keys import Spaces
from modules.networks.torsos import ConvSpec, MlpSpec

CPU = torch.device("cpu")
VECTORS = Spaces((4,), torch.float32, 4)
IMAGES = Spaces((1, 12, 12), torch.uint8, 3)
MLP = MlpSpec(out_features=32, hidden=(32,), activation="relu", norm="none", bias=True, init="default")
CONV = ConvSpec(
    channels=(4,),
    kernels=((4, 4),),
    strides=((4, 4),),
    pool=False,
    out_features=16,
    activation="relu",
    background=0,
    gain=1.0,
)


def descent(**changes) -> AuxiliaryOptimizerSpec:
    """NGU's numbers, faster."""
    numbers = {"lr": 3e-3, "eps": 1e-4, "betas": (0.9, 0.999), "weight_decay": 0.0, "max_grad_norm": 40.0}
    return AuxiliaryOptimizerSpec(**(numbers | changes))


def make_rows(observation: Tensor, action: Tensor, mask: Tensor | None = None) -> TensorDict:
    """Rows from observations [B, S+1, …] and actions [B, S]; all steps are real unless `mask` says else."""
    mask = torch.ones_like(action, dtype=torch.bool) if mask is None else mask
    fields = {keys.OBSERVATION: observation, keys.ACTION: action, keys.MASK: mask}
    return TensorDict(fields, batch_size=[len(action)])


def walks(batch: int, length: int) -> TensorDict:
    """Walks on a plane: the action moves the first two entries, chance the other two, by more."""
    action = torch.randint(0, 4, (batch, length))
    moves = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])[action]
    own = torch.cat((torch.zeros(batch, 1, 2), moves), 1).cumsum(1) + torch.randn(batch, 1, 2)
    return make_rows(torch.cat((own, 3 * torch.randn(batch, length + 1, 2)), -1), action.to(torch.uint8))
