"""Meshes: where arrays lie, decided at the edge and nowhere else."""

from jaxalign.parallel.activations import ACTIVATIONS
from jaxalign.parallel.mesh import batch_sharding, make_mesh, replicated
from jaxalign.parallel.rules import match_rules, shardings

__all__ = [
    "ACTIVATIONS",
    "batch_sharding",
    "make_mesh",
    "match_rules",
    "replicated",
    "shardings",
]
