"""What goes wrong outside of the program: its exit code, and a sentence about it."""

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator

from jaxalign.errors import UserError

STOPPED = 75
"""Exit code of what was stopped on request: the same command goes on."""
UNAVAILABLE = 76
"""Exit code where a disk, peer or source gave out: the same command may go on later."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
# Libraries below Python report a full disk in text alone.
_FULL_IN_WORDS = re.compile(
    r"no space left on device|disk quota exceeded|os error (28|122)\b|\bENOSPC\b", re.I
)
_MENDABLE = (
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST),
    *(errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.ENXIO, errno.EINVAL, errno.EFBIG, errno.ETXTBSY, errno.EXDEV),
)


def disk_is_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that a disk or quota is full.

    >>> disk_is_full(OSError(errno.ENOSPC, "No space left on device"))
    True
    >>> disk_is_full(ValueError("Checkpoint path should be absolute"))
    False
    """
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno in _FULL:
            return True
        if not isinstance(one, UserError) and _FULL_IN_WORDS.search(str(one)):
            return True
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return False


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Inside, errors of the disk name `path`, if they name no file by themselves.

    >>> with naming("metrics.jsonl"):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'metrics.jsonl'
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    except Exception as error:
        if not disk_is_full(error):
            raise
        text = os.strerror(errno.ENOSPC)
        raise OSError(errno.ENOSPC, text, str(path)) from error


def exit_code_of(error: BaseException) -> int | None:
    """The exit code of an error that a user or a disk is to blame for; None for a bug.

    2 asks for another command or a mended file, 76 for the same command later.

    >>> exit_code_of(IsADirectoryError(errno.EISDIR, "Is a directory", "run.json"))
    2
    >>> exit_code_of(OSError(errno.EIO, "Input/output error", "run.json"))
    76
    """
    if (code := getattr(error, "exit_code", None)) is not None:
        return code
    if disk_is_full(error):
        return UNAVAILABLE
    if isinstance(error, UserError):
        return 2
    if isinstance(error, OSError) and error.errno is not None:
        return 2 if error.errno in _MENDABLE else UNAVAILABLE
    return None


def in_a_sentence(error: BaseException) -> str:
    """What an error says, with the file that it speaks of, without its trace.

    >>> in_a_sentence(IsADirectoryError(errno.EISDIR, "Is a directory", "run.json"))
    'run.json: Is a directory'
    >>> in_a_sentence(KeyError("step"))
    "KeyError: 'step'"
    """
    if isinstance(error, OSError) and error.strerror:
        names = [str(x) for x in (error.filename, error.filename2) if x is not None]
        return f"{' -> '.join(names)}: {error.strerror}" if names else error.strerror
    first = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, UserError) or getattr(error, "exit_code", None) is not None:
        return str(error)
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def paragraph(error: BaseException) -> str:
    """What the command line prints of an error that has an exit code."""
    text = in_a_sentence(error)
    if isinstance(error, UserError) or getattr(error, "exit_code", None) is not None:
        return text
    if disk_is_full(error):
        return f"{text}. The disk is full: make room, and start the same command again."
    if exit_code_of(error) == UNAVAILABLE:
        return f"{text}. Start the same command again when it is there."
    return f"{text}. Mend the path or its permissions, or name another one."


def print_nowhere() -> None:
    """From here on nothing that is printed fails: what cannot be written is lost."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
