"""Rollout videos: one greedy episode as H.264."""

from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
from tensordict.nn import TensorDictModuleBase
from torchrl.envs import EnvBase

from modules.envs.base import EnvSpec
from modules.evaluation import run_episodes

FPS = 30


def record(spec: EnvSpec, env: EnvBase, policy: TensorDictModuleBase, *, seed: int, path: Path) -> float:
    """Run one greedy episode in `env` (a single environment built for video), write it to `path`; return its return."""
    frames: list[np.ndarray] = []
    episodes = run_episodes(env, policy, episodes=1, seed=seed, look=lambda e: frames.append(spec.picture(e)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, frames)
    return episodes.returns[0]


def write(path: Path, frames: list[np.ndarray]) -> None:
    """Write frames [H, W, 3] of uint8 as a video; odd sizes are padded to even ones, which H.264 needs."""
    even = [cv2.copyMakeBorder(f, 0, f.shape[0] % 2, 0, f.shape[1] % 2, cv2.BORDER_REPLICATE) for f in frames]
    height, width = even[0].shape[:2]
    writer = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=FPS, macro_block_size=2, ffmpeg_log_level="error"
    )
    writer.send(None)
    for frame in even:
        writer.send(np.ascontiguousarray(frame))
    writer.close()
