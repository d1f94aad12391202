"""The one exception that tells a user what to mend."""


class UserError(ValueError):
    """A mistake in what the user gave: a value, a file, a flag.

    Its text is one paragraph: what is wrong with the value, where it stands (file
    and line, field or row), and what to do about it. The command line prints the
    paragraph and ends with code 2; library callers catch a `ValueError`.
    """
