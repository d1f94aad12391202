"""Token sequences to the arrays of an update: the one place where tokens are shifted.

Layout of rows, packing, and batches by number.
"""
