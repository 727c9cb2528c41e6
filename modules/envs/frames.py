"""Pictures that environments draw of themselves, whatever their form, and how fast they follow each other."""

import math
from numbers import Real
from typing import Any, Literal

import gymnasium
import numpy as np

from modules.errors import BadValueError

Order = Literal["first", "last"]

DEPTHS = (1, 3, 4)  # channels of grey, RGB, RGBA
ROUNDING = 1e-5  # how far rounding may have taken floats out of 0 to 1
SLOWEST = 0.01  # frames per second of a film


def rgb(frame: Any, env_id: str, channels: Order | None = None) -> np.ndarray:
    """Make [H, W, 3] of uint8 of what `env_id` has rendered.

    Its numbers are integers from 0 to 255, floats from 0 to 1 or bools; grey becomes RGB, and alpha is left out. If
    `channels` are None, they are last, as Gymnasium has it, or first if only that is possible.

    Raises:
        BadValueError: it is no such picture; names its type and shape.
    """
    usual = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.shape[2:] == (3,) and frame.size
    if usual and channels != "first":
        return frame
    try:
        picture = np.asarray(frame)
    except Exception:  # of rows that differ in length, say
        picture = np.asarray(None)
    seen, axis = in_bytes(picture), channel_axis(picture.shape, channels)
    if seen is None or axis is None:
        raise BadValueError(
            f"env.id: {env_id} renders {describe_frame(frame, picture)}, of which no picture can be made: it must be "
            "[height, width, 3], [3, height, width] or [height, width], of integers from 0 to 255 or floats from 0 to 1"
        )
    seen = np.moveaxis(seen, axis, -1) if seen.ndim == 3 else seen[..., None]
    return np.ascontiguousarray(np.broadcast_to(seen[..., :3], (*seen.shape[:2], 3)))


def channel_axis(shape: tuple[int, ...], channels: Order | None) -> int | None:
    """Tell which axis of a picture of `shape` has the channels, -1 if it has none; None if it is no picture."""
    if len(shape) == 2:
        return -1
    axes = {"last": -1, "first": 0} if len(shape) == 3 else {}
    return next((axis for order, axis in axes.items() if channels in (None, order) and shape[axis] in DEPTHS), None)


def in_bytes(picture: np.ndarray) -> np.ndarray | None:
    """Make uint8 of a picture's numbers; None if there are none, or others than `rgb` takes."""
    kind = picture.dtype.kind if picture.size else ""
    if kind == "b":
        return picture * np.uint8(255)
    if kind == "f" and picture.min() >= -ROUNDING and picture.max() <= 1 + ROUNDING:
        return np.rint(picture.clip(0, 1) * 255).astype(np.uint8)
    if kind in ("i", "u") and picture.min() >= 0 and picture.max() <= 255:
        return picture.astype(np.uint8)
    return None


def describe_frame(frame: Any, picture: np.ndarray) -> str:
    """Name the type and shape of a frame, and the range of its numbers."""
    name = type(frame).__name__
    if picture.dtype.kind not in "biufc":
        return name
    shape = f"{picture.dtype} {list(picture.shape)}" + (f" (a {name})" if picture is not frame else "")
    numbers = f" with numbers from {picture.min():g} to {picture.max():g}" if picture.size else ""
    return shape + (numbers if picture.dtype.kind in "iuf" else "")


def renders(env: gymnasium.Env) -> bool:
    """Tell whether `env` can draw itself into an array."""
    return "rgb_array" in (env.metadata.get("render_modes") or ())


def speed(env: gymnasium.Env, env_id: str) -> float | None:
    """Frames per second that `env` asks for; None if it does not; raises `BadValueError` for what is no such number."""
    fps = env.metadata.get("render_fps")
    if fps is None:
        return None
    number = float(fps) if isinstance(fps, Real) and not isinstance(fps, bool) else math.nan
    if not SLOWEST <= number < math.inf:
        raise BadValueError(
            f"env.id: {env_id} has {fps!r} in metadata['render_fps'], but it must be a number of frames per second, "
            f"{SLOWEST} or more"
        )
    return number


def film_problem(env: gymnasium.Env, env_id: str) -> str:
    """Say why `env`, made to render an array, cannot be filmed, as far as its first frame tells; "" if it can."""
    try:
        speed(env, env_id)
        env.reset(seed=0)
        rgb(env.render(), env_id)
    except BadValueError as error:
        text = f"it {str(error).removeprefix(f'env.id: {env_id} ')}"
    except (Exception, SystemExit) as error:
        text = f"{type(error).__name__}: {error}"
    else:
        return ""
    return f"video=true: {env_id} cannot be filmed, because {' '.join(text.split())}; correct it or set video=false"
