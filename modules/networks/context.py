"""What the parts of a network are built from."""

from dataclasses import dataclass

from modules.keys import Spaces


@dataclass(frozen=True, kw_only=True)
class PartContext:
    """What a memory or a head may need.

    Attributes:
        spaces: of the run.
        in_features: size of what the part before it puts out.
        span: steps over which a memory keeps what it holds before anything is learned; 0 = as it is initialised.
    """

    spaces: Spaces
    in_features: int
    span: int
