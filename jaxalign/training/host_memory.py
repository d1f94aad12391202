"""How the C library hands memory to a CPU computation: settings of this process.

A compiled step takes its scratch memory (hundreds of MB) in one piece and gives it back
at its end. By default glibc returns such a piece to the kernel, and the next step
touches every page of it for the first time: a tenth of a step's time went there. All
functions do nothing where the C library is another one.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # of malloc.h


def keep_freed_memory() -> bool:
    """Lets freed memory stay with this process, for the next step to use.

    Call it before the first computation. Peak memory stays what it was.

    Returns:
      Whether the C library took the settings.
    """
    libc = _glibc()
    if libc is None:
        return False
    # One arena, on the heap: only there a large piece is kept when it is freed.
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return all(libc.mallopt(name, value) for name, value in settings)


def release_freed_memory() -> bool:
    """Gives freed memory back to the system once, as after compiling a large step.

    Returns:
      Whether there was any.
    """
    libc = _glibc()
    return libc is not None and bool(libc.malloc_trim(0))


def _glibc():
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
