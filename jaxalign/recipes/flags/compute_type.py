"""The flag `--dtype`, in a file of its own: command lines are read without jax."""

from typing import Literal

ComputeType = Literal["auto", "float32", "bfloat16"]
"""`auto`: bfloat16 on accelerators that have it, float32 elsewhere."""
