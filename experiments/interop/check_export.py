"""A folder that jaxalign wrote gives the same logits in transformers.

Claim: for a real or tiny model, `export_model` writes a folder that transformers loads
without a word, and the logits of both agree to 1e-3 in float32; where float32 itself is
not that exact, ours are no further from transformers in float64 than its own are.

    python experiments/interop/check_export.py export MODEL OUT   # needs jaxalign
    python experiments/interop/check_export.py compare OUT        # needs transformers

The first loads MODEL, exports it to OUT and leaves our logits of fixed inputs beside
it, in OUT.npz; the second, in whatever environment has torch and transformers, computes
its own. SmolLM2-135M: 30 s each on two CPU cores. Expected: the last line says `agree`.
"""

import pathlib
import sys

import numpy as np

ROWS, LENGTH, TOLERANCE = 2, 48, 1e-3


def export(model: pathlib.Path, out: pathlib.Path) -> None:
    import jax

    from jaxalign.models import (
        Transformer,
        export_model,
        load_params,
        logits,
        read_config,
        resolve_model,
    )

    source = resolve_model(model)
    config = read_config(source)
    params = load_params(source, config)
    export_model(out, config, params, source=source)
    rng = np.random.default_rng(0)
    shape = (ROWS, min(LENGTH, config.max_positions))
    inputs = rng.integers(3, config.vocab_size, shape).astype(np.int32)
    ours = jax.jit(lambda p, x: logits(Transformer(config), p, x))(params, inputs)
    np.savez(f"{out}.npz", inputs=inputs, logits=np.asarray(ours))


def compare(out: pathlib.Path) -> None:
    import torch  # pyright: ignore[reportMissingImports]
    from transformers import (  # pyright: ignore[reportMissingImports]
        AutoModelForCausalLM,
    )

    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    with np.load(f"{out}.npz", allow_pickle=False) as file:
        inputs, ours = file["inputs"], file["logits"]
    ids = torch.tensor(inputs).long()
    width = ours.shape[-1]
    with torch.no_grad():
        theirs = model(ids).logits.numpy()[..., :width]
        exact = model.double()(ids).logits.numpy()[..., :width]
    gap = float(np.abs(ours - theirs).max())
    print(f"largest difference {gap:.2e} at logits of std {ours.std():.2f}")
    errors = [float(np.abs(x - exact).max()) for x in (ours, theirs)]
    print("from float64: ours {:.2e}, theirs {:.2e}".format(*errors))
    if gap > TOLERANCE and errors[0] > errors[1]:
        raise SystemExit(f"differ by more than {TOLERANCE}")
    print("agree")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"export": export, "compare": compare}[command](*map(pathlib.Path, arguments))
