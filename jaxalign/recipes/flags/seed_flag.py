"""The number of `--seed`."""

from jaxalign.errors import UserError


def check_seed(seed: int) -> None:
    """Refuses what not every generator of random numbers takes.

    >>> check_seed(0)
    """
    if not 0 <= seed < 2**63:
        raise UserError(f"seed must be 0 or more, and less than 2**63, got {seed}")
