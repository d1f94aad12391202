"""The host's side: from files to batches of NumPy arrays; no JAX.

In the order in which a run uses them:

- `sources`, `reading`, `formats`, `converters`, `records`: rows of any file to records.
- `tokenizer`, `templates`, `marks`, `sandbox`: text and chat templates.
- `encode`, `trained`, `sequences`, `prepare`, `lengths`, `preview`: records to tokens,
  each with a bool that says whether it is trained.
- `layout`, `pack`, `row_shapes`, `batches`: tokens to the arrays of an update.

Modules are imported by name; what is slow to import is imported where it is used.
"""
