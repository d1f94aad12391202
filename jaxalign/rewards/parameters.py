"""Parameters of rewards, which people write on a command line."""

import math

from jaxalign.errors import UserError


def check_numbers(**values: object) -> None:
    """Refuses parameters that are no finite numbers.

    >>> check_numbers(target=3)
    >>> check_numbers(target="three")
    Traceback (most recent call last):
    jaxalign.errors.UserError: target is 'three'; it must be a number.
    """
    for name, value in values.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value)
        else:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"{name} is {value!r}; it must be a number.")
