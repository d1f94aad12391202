"""A terminal of which a test reads what it was given."""

import io


class Terminal(io.StringIO):
    """A stream that says whether it is a terminal, and keeps all text."""

    def __init__(self, tty: bool):
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    @property
    def text(self) -> str:
        return self.getvalue()
