"""Where actors and rows are: words for `bad_commands`."""

from pathlib import Path

STATE, R2D2 = "+exp=drqn_cartpole_masked", "+exp=r2d2_memory_len"
MULTI, RAY = "collector=multi_async", "collector=ray"
SHARDS = ("collector.rows=actor", "replay=ray")
PLACES: dict[str, str] = {}
COMMANDS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "train": (
        "# Several processes",
        (STATE, MULTI, "collector.processes=0"),
        (STATE, MULTI, "collector.push_every=0"),
        (STATE, MULTI, "collector.rows=replay"),
        (STATE, MULTI, "collector.num_workers=2"),
        (STATE, "collector.rows=actor"),
        (STATE, "collector=async"),
        ("+exp=reinforce_cartpole", MULTI),
        ("+exp=pqn_cartpole", MULTI),
        ("+exp=tour_q", MULTI),
        (R2D2, "replay=ray"),
        (R2D2, MULTI, *SHARDS),
        "# A Ray cluster",
        (STATE, RAY, "collector.num_workers=0"),
        (STATE, RAY, "collector.cpus_per_worker=0"),
        (STATE, RAY, "collector.cpus_per_worker=inf"),
        (STATE, RAY, "collector.most_losses=-1"),
        (STATE, RAY, "collector.address=null"),
        (STATE, RAY, "collector.address="),
        (STATE, RAY, "collector.address=nowhere"),
        (STATE, RAY, "collector.address=here..there:6379"),
        (STATE, RAY, "collector.address=127.0.0.1:head"),
        (STATE, RAY, "collector.address=ray://127.0.0.1:1"),
        (STATE, RAY, "collector.address=http://127.0.0.1:1"),
        (R2D2, RAY, "replay=ray"),
        (R2D2, RAY, *SHARDS, "replay.shards=0"),
        (R2D2, RAY, *SHARDS, "replay.shards=3"),
        (R2D2, RAY, *SHARDS, "replay.shards=1.5"),
        (R2D2, RAY, *SHARDS, "replay.most_losses=-1"),
        (STATE, RAY, *SHARDS, "loss=reinforce"),
    ),
}


def prepare(place: Path) -> None:
    """Nothing is needed."""
