"""The exceptions that tell a user what to mend."""


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
