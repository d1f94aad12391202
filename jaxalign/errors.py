"""The exceptions that tell a user what to mend."""

import contextlib


class UserError(ValueError):
    """A mistake in what the user gave: a value, a file, a flag.

    Its text is one paragraph: what is wrong with the value, where it stands (file
    and line, field or row), and what to do about it. The command line prints the
    paragraph and ends with code 2; library callers catch a `ValueError`.
    """


class RowError(UserError):
    """One row that cannot be used: where it stands, what is wrong, how to mend it.

    Args:
      where: file and line, as in `pairs.jsonl:812`.
      what: one clause that names the field and the value found, without a full stop.
      fix: what the user can do, as a sentence.
    """

    def __init__(self, where: str, what: str, fix: str):
        """Joins the three parts to one paragraph."""
        super().__init__(f"{where}: {what}. {fix}")
        self.where, self.what, self.fix = where, what, fix

    def __reduce__(self):
        """Errors cross process borders with their parts."""
        return type(self), (self.where, self.what, self.fix)


_README = 'README, "Any model, any mesh", shows how.'
_RNGS = (
    "The model's rngs change while it is called, and a compiled function cannot change "
    "what was made outside of it. Merge a copy of the model inside, and reseed it with "
    f"the objective's key or switch dropout off: {_README}"
)
_MESH = (
    "The arrays lie on a mesh whose axes are AxisType.Explicit, and there the model "
    "and the losses would have to name the layout of every result. Let XLA choose: "
    "make the mesh with axis_types=(jax.sharding.AxisType.Auto, ...), or "
    f"compile a step of your own with jax.sharding.auto_axes: {_README}"
)
_EXPLAINED = {
    ("TraceContextError", ""): _RNGS,
    ("ShardingTypeError", ""): _MESH,
    ("ValueError", "context mesh"): _MESH,
}


@contextlib.contextmanager
def explained():
    """Says what to do about errors of other libraries that mean little by themselves.

    Raises:
      UserError: In the place of such an error, which is its cause.

    >>> with explained():
    ...     1 + 1
    2
    """
    try:
        yield
    except Exception as error:
        for (name, words), text in _EXPLAINED.items():
            if type(error).__name__ == name and words in str(error):
                first = str(error).partition(". ")[0].splitlines()[0]
                raise UserError(f"{name}: {first}. {text}") from error
        raise
