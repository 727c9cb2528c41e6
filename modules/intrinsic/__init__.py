"""Intrinsic rewards: novelty within an episode, novelty over the whole run, and both as in NGU."""

from modules.intrinsic.base import IntrinsicModel, IntrinsicReward, IntrinsicSpec, NoneSpec
from modules.intrinsic.ngu import EpisodicNoveltySpec, NguSpec, RndSpec
from modules.intrinsic.transform import IntrinsicRewardTransform

__all__ = [
    "EpisodicNoveltySpec",
    "IntrinsicModel",
    "IntrinsicReward",
    "IntrinsicRewardTransform",
    "IntrinsicSpec",
    "NguSpec",
    "NoneSpec",
    "RndSpec",
]
