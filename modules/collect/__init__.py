"""Collection: environments that the acting policy steps, in this process or in several, as batches [N, T]."""

from modules.collect.base import Actor, Collected, Collection, CollectorContext, CollectorSpec, WorkerFailed
from modules.collect.cluster import RayCollection, RaySpec
from modules.collect.multi import MultiAsyncSpec, MultiCollection
from modules.collect.ray_session import leaving_cluster
from modules.collect.sync import SyncCollection, SyncSpec

__all__ = [
    "Actor",
    "Collected",
    "Collection",
    "CollectorContext",
    "CollectorSpec",
    "MultiAsyncSpec",
    "MultiCollection",
    "RayCollection",
    "RaySpec",
    "SyncCollection",
    "SyncSpec",
    "WorkerFailed",
    "leaving_cluster",
]
