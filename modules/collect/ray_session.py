"""The connection to Ray: one sentence where there can be none."""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from modules.spec import UsageError

PATIENCE_S = 5  # for an answer
log = logging.getLogger("recall")
NAMESPACE = "recall"  # of the connections that are begun here, by which they are told from those of others
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def connect(address: str, *, cpus: float) -> None:
    """Connect to a cluster, or start one here (`local`), unless that is done.

    Raises:
        UsageError: nothing answers there, its versions are others, or it has fewer CPUs.
    """
    os.environ.update(QUIET)
    import ray  # pyright: ignore[reportMissingImports] - an extra

    if not (before := ray.is_initialized()):
        refuse_silence(address)
        begin(address)
    elif ray.get_runtime_context().namespace != NAMESPACE:
        log.warning("Ray is connected already, and used as it is; collector.address=%s is not", address)
    there = ray.cluster_resources().get("CPU", 0.0)
    if there < cpus:
        if not before:
            leave_cluster()
        raise UsageError(
            f"collector.num_workers x collector.cpus_per_worker are {cpus:g} CPUs, and the cluster at "
            f"collector.address={address} has {there:g}: lower one of them, or add machines"
        )


def begin(address: str) -> None:
    """Let Ray connect; raises `UsageError` with what it says."""
    import ray  # pyright: ignore[reportMissingImports] - an extra

    # Modules are found where they are found here.
    here: dict[str, Any] = {"env_vars": {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}}
    away = {"working_dir": str(Path.cwd()), "excludes": ["outputs", ".git"]}
    how: dict[str, Any] = {"runtime_env": away}
    if address == "local":
        how = {"include_dashboard": False, "runtime_env": here}
    try:
        ray.init(address=address, namespace=NAMESPACE, logging_level=logging.ERROR, log_to_driver=False, **how)
    except Exception as error:  # Ray has many ways to say it
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if "Could not find any running Ray" in text:
            text = "this machine belongs to no cluster; `ray start --head` begins one (docs/cluster.md)"
        elif isinstance(error, ConnectionError):
            text += "; it may want a token that is not here (docs/cluster.md)"
        raise UsageError(f"collector.address={address}: {text}") from error


def refuse_silence(address: str) -> None:
    """Raise `UsageError` if nothing listens at HOST:PORT: Ray would wait for minutes."""
    host, colon, port = address.partition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()
    except (OSError, OverflowError, ValueError) as error:  # of the socket, the port and the name
        raise UsageError(f"collector.address={address}: nothing answers there ({error})") from error


def dismiss(workers: Sequence[Any]) -> None:
    """Kill workers."""
    import ray  # pyright: ignore[reportMissingImports] - an extra

    for worker in workers:
        with suppress(Exception):  # it is gone already
            ray.kill(worker)


def leave_cluster() -> None:
    """End the connection to a cluster that `connect` has begun, if there is one; a cluster that it started ends."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized() and ray.get_runtime_context().namespace == NAMESPACE:
        ray.shutdown()


@contextmanager
def leaving_cluster() -> Iterator[None]:
    """Leave the cluster at the end, whatever that is: the process may go on, as a notebook's does."""
    try:
        yield
    finally:
        leave_cluster()


def free_cpus() -> float:
    """CPUs of the cluster that nothing has asked for."""
    import ray  # pyright: ignore[reportMissingImports] - an extra

    return ray.available_resources().get("CPU", 0.0)


def machines() -> frozenset[str]:
    """Which machines of the cluster are there, as far as it knows: that one is gone it notices after seconds."""
    import ray  # pyright: ignore[reportMissingImports] - an extra

    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])
