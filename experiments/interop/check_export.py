"""A folder that jaxalign wrote gives the same numbers in transformers.

Claim: for a real or tiny model, `export_model` writes a folder that transformers loads
without a word, and the logits of both agree to 1e-3 in float32; where float32 itself is
not that exact, ours are no further from transformers in float64 than its own are. Of a
reward model it is the scores, of rows padded on the right, less the `score_bias` that
transformers does not know.

    python experiments/interop/check_export.py export MODEL OUT   # needs jaxalign
    python experiments/interop/check_export.py compare OUT        # needs transformers

The first loads MODEL, a language model or a reward model, exports it to OUT and leaves
our numbers for fixed inputs beside it, in OUT.npz; the second, in whatever environment
has torch and transformers, computes its own. SmolLM2-135M: 30 s each on two CPU cores.
Expected: the last line says `agree`.
"""

import json
import pathlib
import sys

import numpy as np

LENGTHS, TOLERANCE = (48, 31, 1), 1e-3


def export(model: pathlib.Path, out: pathlib.Path) -> None:
    import jax

    from jaxalign.models import (
        Transformer,
        export_model,
        load_params,
        logits,
        read_config,
        resolve_model,
        scalar_scores,
    )

    source = resolve_model(model)
    config = read_config(source)
    params = load_params(source, config)
    export_model(out, config, params, source=source)
    longest = min(max(LENGTHS), config.max_positions)
    lengths = np.minimum(LENGTHS, longest)
    inputs = _inputs(out, config.vocab_size, lengths)

    @jax.jit
    def run(params, inputs):
        transformer = Transformer(config)
        if config.head == "score":
            return scalar_scores(transformer, params, inputs, lengths[:, None] - 1)
        return logits(transformer, params, inputs)

    ours = np.asarray(run(params, inputs))
    np.savez(f"{out}.npz", inputs=inputs, lengths=lengths, ours=ours)


def _inputs(folder: pathlib.Path, vocab_size: int, lengths) -> np.ndarray:
    """Random tokens that are no padding, and padding behind them."""
    pad = _config(folder).get("pad_token_id") or 0
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, vocab_size - 1, (len(lengths), max(lengths)))
    inputs += inputs >= pad
    behind = np.arange(max(lengths)) >= lengths[:, None]
    return np.where(behind, pad, inputs).astype(np.int32)


def compare(out: pathlib.Path) -> None:
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    with np.load(f"{out}.npz", allow_pickle=False) as file:
        inputs, lengths, ours = (file[x] for x in ("inputs", "lengths", "ours"))
    scores = _config(out)["architectures"][0].endswith("ForSequenceClassification")
    kind = "SequenceClassification" if scores else "CausalLM"
    load = getattr(transformers, f"AutoModelFor{kind}").from_pretrained
    model = load(out, dtype=torch.float32)
    ids = torch.tensor(inputs).long()
    mask = np.arange(inputs.shape[1]) < lengths[:, None]

    def run(model) -> np.ndarray:
        with torch.no_grad():
            found = model(ids, attention_mask=torch.tensor(mask).long()).logits.numpy()
        if scores:
            return found + _config(out).get("score_bias", 0.0)
        return found[mask][:, : ours.shape[-1]]

    if not scores:
        ours = ours[mask]
    theirs, exact = run(model), run(model.double())
    what = "scores" if scores else "logits"
    gap = float(np.abs(ours - theirs).max())
    print(f"largest difference {gap:.2e} at {what} of std {ours.std():.2f}")
    errors = [float(np.abs(x - exact).max()) for x in (ours, theirs)]
    print("from float64: ours {:.2e}, theirs {:.2e}".format(*errors))
    if not (gap <= TOLERANCE or errors[0] <= errors[1]):  # NaN is no agreement
        raise SystemExit(f"differ by more than {TOLERANCE}")
    print("agree")


def _config(folder: pathlib.Path) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"export": export, "compare": compare}[command](*map(pathlib.Path, arguments))
