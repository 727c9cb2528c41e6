"""What a checkpoint keeps of an object: what it keeps of the object's parts."""

from collections.abc import Mapping
from typing import Any, Protocol

from modules.spec import UsageError


class HasState(Protocol):
    """Whatever can be saved: a module, an optimiser, an object of ours."""

    def state_dict(self) -> dict[str, Any]:
        """What must be kept."""
        ...

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Put back what `state_dict` returned."""
        ...


class Stateful:
    """Is saved part by part."""

    def parts(self) -> Mapping[str, HasState]:
        """What is kept, under the names in the checkpoint; {} if nothing."""
        raise NotImplementedError(f"{type(self).__name__}: neither parts nor state_dict say what a checkpoint keeps")

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts."""
        return {name: part.state_dict() for name, part in self.parts().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        for name, part in self.parts().items():
            part.load_state_dict(state[name])


class Stateless(Stateful):
    """Has nothing to keep."""

    def parts(self) -> Mapping[str, HasState]:
        return {}


def put_back(parts: Mapping[str, HasState], state: Mapping[str, Any], where: object) -> None:
    """Load what is saved in `state` into `parts`; raises `UsageError` if it is not what such parts saved."""
    for name, part in parts.items():
        try:
            part.load_state_dict(state[name])
        except UsageError:
            raise
        except Exception as error:  # each part, and PyTorch, stumbles over something else in a foreign state
            text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise UsageError(f"{where}: what is saved as {name!r} does not fit this run ({text})") from error
