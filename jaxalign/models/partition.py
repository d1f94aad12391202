"""How parameters are laid out over a mesh, as data."""

from jax.sharding import PartitionSpec as P

PARTITION_RULES = (
    (r"(^|/)(embed|unembed)/(embedding|kernel)$", P("tensor", "fsdp")),
    (r"(^|/)position_embed/embedding$", P(None, "fsdp")),
    (r"/(query|key|value|gate|up)/kernel$", P(None, "fsdp", "tensor")),
    (r"/(query|key|value|gate|up)/bias$", P(None, "tensor")),
    (r"/(out|down)/kernel$", P(None, "tensor", "fsdp")),
    (r"", P()),
)
"""`(pattern, spec)`: the first pattern found in a leaf's "/"-joined path says how it is
split. Layer leaves are stacked `[L, ...]`, and the layer axis is never split."""
