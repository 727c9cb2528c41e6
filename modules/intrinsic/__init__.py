"""Intrinsic rewards: novelty within an episode, novelty over the whole run, and both as in NGU."""

from modules.intrinsic.base import IntrinsicContext, IntrinsicModel, IntrinsicReward, IntrinsicSpec, NoneSpec
from modules.intrinsic.ngu import EpisodicNoveltySpec, NguSpec, RndSpec
from modules.intrinsic.transform import IntrinsicRewardTransform

__all__ = [
    "EpisodicNoveltySpec",
    "IntrinsicContext",
    "IntrinsicModel",
    "IntrinsicReward",
    "IntrinsicRewardTransform",
    "IntrinsicSpec",
    "NguSpec",
    "NoneSpec",
    "RndSpec",
]
