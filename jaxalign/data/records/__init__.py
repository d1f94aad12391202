"""Rows to records: which layout a file has, and what each of its rows says.

A record holds checked text, whatever file and layout it came from.
"""
