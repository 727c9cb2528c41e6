"""Intrinsic rewards: novelty within an episode, novelty over the whole run, and both as in NGU."""

from modules.intrinsic.base import Bonus, Curiosity, IntrinsicSpec, NoneSpec
from modules.intrinsic.ngu import EpisodicNoveltySpec, NguSpec, RndSpec
from modules.intrinsic.transform import IntrinsicReward

__all__ = [
    "Bonus",
    "Curiosity",
    "EpisodicNoveltySpec",
    "IntrinsicReward",
    "IntrinsicSpec",
    "NguSpec",
    "NoneSpec",
    "RndSpec",
]
