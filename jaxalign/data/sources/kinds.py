"""Which kind of data file a name speaks of."""

import re

KINDS = {
    "jsonl": r"\.(jsonl|ndjson)(\.gz|\.zst)?$",
    "json": r"\.json(\.gz|\.zst)?$",
    "csv": r"\.(csv|tsv)(\.gz|\.zst)?$",
    "parquet": r"\.parquet$",
    "arrow": r"\.(arrow|feather)$",
    "array_record": r"\.(array_record|arrayrecord|riegeli)(-\d+-of-\d+)?$",
    "tfrecord": r"\.(tfrecord|tfrecords)(\.gz)?(-\d+-of-\d+)?$",
}
"""What each kind of data file is called."""


def kind_of(path: str) -> str | None:
    """The kind of file that a name speaks of, None if it is no data file.

    >>> kind_of("pairs.jsonl.gz"), kind_of("x-train.array_record-00000-of-00002")
    ('jsonl', 'array_record')
    """
    return next((k for k, p in KINDS.items() if re.search(p, path.lower())), None)
