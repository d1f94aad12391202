import subprocess
import sys

import pytest

from jaxalign.training import host_memory

# A large piece is written to, freed and taken again, as a step does with its scratch
# memory; printed are the page faults of the second time.
PROGRAM = """
import ctypes, resource
from jaxalign.training.host_memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    piece = libc.malloc(1 << 27)
    ctypes.memset(piece, 1, 1 << 27)
    libc.free(piece)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

glibc = pytest.mark.skipif(host_memory._glibc() is None, reason="not glibc")


def faults(keep: bool) -> int:
    command = [sys.executable, "-c", PROGRAM.format(keep=keep)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


@glibc
def test_a_freed_piece_is_used_again_without_page_faults():
    assert faults(keep=True) < 100 < faults(keep=False)


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(host_memory.sys, "platform", "darwin")
    assert not host_memory.keep_freed_memory()
    assert not host_memory.release_freed_memory()
