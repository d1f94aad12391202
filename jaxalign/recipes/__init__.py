"""Wiring: one Config and one main() per method; no maths."""
