"""Checkpoints: arrays, their digests, and which are kept."""
