"""JSON files that came from elsewhere: an object, or one sentence about the file."""

import json
import pathlib
import re
from typing import Any

from jaxalign.errors import UserError
from jaxalign.plain_files import UnreadableError, read_plain

_MOST_BYTES = 1 << 28
# A JSON escape can name half of a UTF-16 pair, which no other program can be given.
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: pathlib.Path, *, hint: str = "") -> dict[str, Any]:
    """The JSON object in a file.

    Args:
      path: The file; a byte order mark is left out.
      hint: A sentence for the error of a file that is not there.

    Raises:
      UserError: The file is absent, no regular file, not UTF-8, not JSON, nested more
        deeply than Python reads, or holds something else than an object.
    """
    text = read_text(path, hint=hint)
    try:
        data = json.loads(text)
        if _HALF_PAIR.search(text):
            json.dumps(data, ensure_ascii=False).encode()
    except RecursionError:
        raise UserError(
            f"{path} is no JSON that anybody wrote: it is nested thousands of levels "
            "deep. Fetch the file again."
        ) from None
    except UnicodeEncodeError:
        raise UserError(
            f"{path} holds half of a character (a lone \\ud800 to \\udfff). Fetch the "
            "file again."
        ) from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}:{error.lineno}: not valid JSON: {error.msg} at column "
            f"{error.colno}. Mend the file, or fetch it again."
        ) from None
    except ValueError as error:  # a number of more digits than Python reads
        raise UserError(f"{path}: not valid JSON: {error}. Mend the file.") from None
    if not isinstance(data, dict):
        kind = {list: "a list", str: "text", bool: "true or false"}.get(type(data))
        kind = kind or ("null" if data is None else "a number")
        raise UserError(
            f"{path} holds {kind}; a JSON object is wanted. Fetch the file again."
        )
    return data


def read_text(path: pathlib.Path, *, hint: str = "") -> str:
    """The UTF-8 text of a regular file; `UserError` in a sentence if it has none.

    Args:
      path: The file; a byte order mark is left out.
      hint: A sentence for the error of a file that is not there.
    """
    try:
        raw = read_plain(path, _MOST_BYTES)
        # Line ends as files opened for text have them, for templates are rendered.
        return raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise UserError(f"{path} is not there. {hint}".rstrip()) from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UserError(
            f"{path} is not UTF-8 text: byte {byte:#04x} at offset {error.start}. Save "
            "it as UTF-8, or fetch it again."
        ) from None
    except UnreadableError as error:
        raise UserError(f"{path}: {error}. Put the file itself there.") from None
