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


# Many small pieces are freed below one that stays; then a compilation ends.
AFTER_COMPILING = """
import ctypes, pathlib
import jax
from jaxalign.training import host_memory
assert host_memory.keep_freed_memory()
host_memory._LONG = {least}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def resident():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
pieces = [libc.malloc(1 << 20) for _ in range(256)]
for piece in pieces:
    ctypes.memset(piece, 1, 1 << 20)
for piece in pieces[:-1]:
    libc.free(piece)
before = resident()
jax.jit(lambda x: x + 1).lower(1.0).compile()
print(resident() - before)
"""


@glibc
@pytest.mark.parametrize(("least", "given_back"), [(0, True), (1e9, False)])
def test_what_a_compilation_leaves_is_given_back(least, given_back):
    command = [sys.executable, "-c", AFTER_COMPILING.format(least=least)]
    change = float(subprocess.run(command, check=True, capture_output=True).stdout)
    assert (change < -150) == given_back


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(host_memory.sys, "platform", "darwin")
    assert not host_memory.keep_freed_memory()
    assert not host_memory.release_freed_memory()
