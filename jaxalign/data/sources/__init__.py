"""Files, folders and named data sets to rows by index.

A source is a sequence of mappings; nothing here knows what a row means.
"""
