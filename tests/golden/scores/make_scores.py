"""Makes the tiny random reward models beside this file, and the scores they give.

    python tests/golden/scores/make_scores.py         # seconds; torch, transformers

Each folder holds what `save_pretrained` writes of a `...ForSequenceClassification` with
one label, and `golden.npz`: `inputs` [3, 12], `lengths` [3] and the scores [3] of the
rows `alone`, and of the three together, padded on the `right` and on the `left`.
"""

import pathlib
import shutil
import sys

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import transformers as hf  # pyright: ignore[reportMissingImports]

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "models"))

from make_goldens import (  # noqa: E402  # pyright: ignore[reportMissingImports]
    CASES,
    SIZES,
    randomise,
)

LENGTHS = (12, 7, 4)
# Norms with and without bias, tied and untied, soft caps, prefixes of names.
FAMILIES = ("llama", "gemma2", "gpt2", "gpt_neox")


def scores(model, ids, mask) -> np.ndarray:
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask, position_ids=positions)
    return out.logits[:, 0].numpy()


def golden(model, inputs) -> dict[str, np.ndarray]:
    rows = [torch.tensor(r[:n]) for r, n in zip(inputs, LENGTHS, strict=True)]

    def padded(left: bool):
        ids, mask = torch.zeros(2, 3, max(LENGTHS), dtype=torch.long)
        for i, row in enumerate(rows):
            at = slice(max(LENGTHS) - len(row), None) if left else slice(len(row))
            ids[i, at], mask[i, at] = row, 1
        return scores(model, ids, mask)

    alone = [scores(model, row[None], torch.ones(1, len(row)).long()) for row in rows]
    return {
        "inputs": inputs,
        "lengths": np.array(LENGTHS),
        "alone": np.concatenate(alone),
        "right": padded(False),
        "left": padded(True),
    }


def main() -> None:
    for seed, name in enumerate(FAMILIES):
        config_class, fields = CASES[name]
        sizes = {**SIZES, "vocab_size": 32}
        if name == "gpt2":
            sizes = {k: v for k, v in sizes.items() if k.endswith(("_id", "on"))}
            sizes |= {"vocab_size": 32, "num_hidden_layers": 2}
        config = config_class(**{**sizes, **fields, "num_labels": 1})
        model = hf.AutoModelForSequenceClassification.from_config(config)
        model = model.eval().float()
        randomise(model, seed)
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        inputs = np.random.default_rng(seed).integers(3, 32, (3, max(LENGTHS)))
        arrays = golden(model, inputs.astype(np.int32))
        np.savez_compressed(folder / "golden.npz", allow_pickle=False, **arrays)
        size = sum(p.stat().st_size for p in folder.iterdir()) / 1000
        print(f"{name:10} {size:6.1f} kB, scores {arrays['alone']}")


if __name__ == "__main__":
    main()
