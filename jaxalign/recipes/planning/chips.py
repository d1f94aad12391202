"""What accelerators have: memory, arithmetic, links. From their makers' data sheets."""

from typing import NamedTuple

GIB = 1 << 30


class Chip(NamedTuple):
    """One device as a program sees it.

    Attributes:
      memory: Bytes that a program may use.
      flops: Products and sums of bfloat16 a second.
      bandwidth: Bytes a second between memory and cores.
      links: Bytes a second between a device and its neighbours, all links together.
    """

    memory: float
    flops: float
    bandwidth: float
    links: float


CHIPS = {
    "TPU v4": Chip(31.25 * GIB, 275e12, 1228e9, 300e9),
    "TPU v5 lite": Chip(15.75 * GIB, 197e12, 819e9, 200e9),
    "TPU v5": Chip(95.74 * GIB, 459e12, 2765e9, 600e9),
    "TPU v6 lite": Chip(31.25 * GIB, 918e12, 1640e9, 400e9),
    "TPU7x": Chip(94.75 * GIB, 1153e12, 3690e9, 600e9),
}
"""By `device_kind`. The memory is what compilers leave of the data sheet's."""


def chip_of(kind: str) -> Chip | None:
    """The chip of a `device_kind`; None for those that are not known, such as CPUs.

    >>> round(chip_of("TPU v5 lite").memory / GIB, 2)
    15.75
    """
    return CHIPS.get(kind)
