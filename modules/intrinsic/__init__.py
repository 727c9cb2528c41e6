"""Intrinsic rewards: novelty within an episode, novelty over the whole run, and both as in NGU."""

from modules.intrinsic.base import IntrinsicContext, IntrinsicModel, IntrinsicReward, IntrinsicSpec
from modules.intrinsic.ngu import NguSpec
from modules.intrinsic.transform import IntrinsicRewardTransform

__all__ = [
    "IntrinsicContext",
    "IntrinsicModel",
    "IntrinsicReward",
    "IntrinsicRewardTransform",
    "IntrinsicSpec",
    "NguSpec",
]
