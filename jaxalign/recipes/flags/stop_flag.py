"""The texts of `--stop`, as people type them."""

import logging
from collections.abc import Sequence

from jaxalign.errors import UserError

_LOG = logging.getLogger("jaxalign")


def check_stop_texts(stop: Sequence[str]) -> None:
    """Refuses an empty text, and warns of what looks like an escape.

    Raises:
      UserError: A text is empty.
    """
    for text in stop:
        if not text:
            raise UserError(
                "--stop is an empty text, which every completion holds. Give the text "
                "at which completions end, or leave the flag out."
            )
        # Not refused: a text may really hold a backslash.
        if any(escape in text for escape in (r"\n", r"\t", r"\r")):
            _LOG.warning(
                "--stop %s: the backslash is taken as it stands, never as part of a "
                "line break. In a shell, write $'\\n' for one.",
                text,
            )
