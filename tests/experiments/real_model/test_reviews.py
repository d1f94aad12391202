"""Rows of reviews: what serves for one phase says nothing of another's."""

import numpy as np

from experiments.real_model import reviews
from experiments.real_model.stages import lines_of, write_rows

SIZES = {"SFT_ROWS": 20, "PAIRS": 20, "HELD_OUT": 10, "PREFIXES": 20}


def test_no_other_row_begins_with_a_prefix(tmp_path, monkeypatch):
    for name, size in SIZES.items():
        monkeypatch.setattr(reviews, name, size)
    rng = np.random.default_rng(0)
    # Of each third sentence the first four words are one of 81 kinds; some are short.
    texts = [
        f"{' '.join(rng.choice(list('abc'), 4)) if i % 3 == 0 else f'{i} is a film'} "
        f"{'of' if i % 7 == 0 else 'of the kind that one sees'} {i}"
        for i in range(600)
    ]
    source = write_rows(
        tmp_path / "source.jsonl",
        [{"text": x, "label": i % 2} for i, x in enumerate(texts)],
    )
    reviews.write_data(source, tmp_path, 0)

    def read(name: str, column: str) -> list[str]:
        found = [row[column] for row in lines_of(tmp_path / f"{name}.jsonl")]
        return [x.removeprefix("Review:").strip() for x in found]

    held_out, begun = (read(x, "prompt") for x in ("prefixes_held_out", "prefixes"))
    others = [
        *read("sft", "completion"),
        *read("classifier", "text"),
        *(
            x
            for n in ("pairs", "pairs_held_out")
            for s in ("chosen", "rejected")
            for x in read(n, s)
        ),
    ]
    assert (len(held_out), len(begun)) == (10, 20)
    assert len({*held_out, *begun}) == 30
    assert not [x for x in others if x.startswith(tuple([*held_out, *begun]))]
    # Nothing is lost on the way, and nothing serves twice.
    assert len({*others}) == len(others)
    assert {*others} <= {*texts}
    assert {x for x in texts if x not in others} == {
        x for x in texts if x.startswith(tuple(x + " " for x in [*held_out, *begun]))
    }
