"""The host's side: from files to batches of NumPy arrays; no JAX.

Four rooms, in the order in which a run walks through them:

- `sources`: files, folders and named data sets to rows.
- `records`: rows to records, by the layout that their columns show.
- `text`: records to token sequences, by tokenizer and chat template.
- `packing`: token sequences to the arrays of an update.

`builders` prepares files as TFDS datasets. Modules are imported by name; what is slow
to import is imported where it is used.
"""
