"""How a CPU computation is given its memory: settings of this process.

A compiled step takes its scratch memory (hundreds of MB) in one piece and gives it back
at its end. By default glibc returns such a piece to the kernel, and the next step
touches every page of it for the first time: a tenth of a step's time went there. What
is about the C library does nothing where that is another one.
"""

import ctypes
import sys

import jax

_COMPILED = "/jax/core/compile/backend_compile_duration"
_LONG = 1.0  # seconds; what shorter compilations leave behind is small
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # of malloc.h


def keep_freed_memory() -> bool:
    """Lets freed memory stay with this process, for the next step to use.

    Programs on CPUs then run in the thread that calls them. Else results are there
    before the scratch memory behind them is given back, and the next step takes another
    piece, which stays as well. What a compilation leaves behind, hundreds of MB in
    pieces too small for a step, is given back when it ends: before the program that was
    compiled first runs. Call it once, before the first computation.

    Returns:
      Whether the C library took the settings.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    libc = _glibc()
    if libc is None:
        return False
    # One arena, on the heap: only there a large piece is kept when it is freed. Small
    # pieces that are taken meanwhile may lie behind it, so that the next step takes
    # another one: not where compiling has left holes for them, as that of steps does.
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    jax.monitoring.register_event_duration_secs_listener(_after_event)
    return all(libc.mallopt(name, value) for name, value in settings)


def _after_event(event: str, duration_secs: float, **about: str | int) -> None:
    del about
    if event == _COMPILED and duration_secs > _LONG:
        release_freed_memory()


def release_freed_memory() -> bool:
    """Gives freed memory back to the system once.

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
