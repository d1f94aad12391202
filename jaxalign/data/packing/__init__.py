"""Token sequences to batches of arrays: the one place where tokens are shifted.

Layout of rows, packing, and batches by number; `make_batch` for rows of your own.
"""

from jaxalign.data.packing.unpacked import make_batch

__all__ = ["make_batch"]
