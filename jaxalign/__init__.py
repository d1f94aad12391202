"""Language-model alignment in JAX, as pure functions on arrays.

`jaxalign.ops` and `jaxalign.losses` take arrays and know no model;
`jaxalign.objectives` binds a loss to a model function; `jaxalign.training` turns
an objective into a step; `jaxalign.recipes` wires whole runs together for the
command line. Nothing is imported before it is asked for.
"""

__version__ = "0.1.0"
