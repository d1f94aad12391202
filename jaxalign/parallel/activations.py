"""Which axes of a mesh split which axis of an activation."""

ACTIVATIONS = {
    "rows": ("data", "fsdp"),
    "group": ("data",),
    "positions": ("sequence",),
    "width": (),
    "stored": ("fsdp",),
    "heads": ("tensor",),
    "row_heads": ("tensor", "sequence"),
    "inner": ("tensor",),
    "vocabulary": ("tensor", "sequence"),
}
"""Mesh axes by the names that models and operations give to axes.

`rows` are packed rows or sequences that are sampled; `group` the same where the devices
that share one copy of the parameters see each other's rows; `width` is that of the
residual stream; `stored` the width of a parameter between its uses; `inner` the width
inside a perceptron. `row_heads` are heads where a device has all positions of its rows:
in attention the devices of `sequence` exchange positions for heads, and behind the last
layer for parts of the vocabulary. An axis of a size that a mesh axis does not divide
stays whole.
"""
