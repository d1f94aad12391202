"""Makes the tiny random Gemma 3 that also reads images, and its logits of plain text.

    python tests/golden/multimodal/make_multimodal.py      # half a minute; transformers

The folder holds what `save_pretrained` writes, and `golden.npz`: `inputs` [2, 12] and
`logits` [2, 12, 64], of text alone.
"""

import pathlib
import shutil
import sys

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import transformers as hf  # pyright: ignore[reportMissingImports]

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "models"))

from make_goldens import CASES, SIZES, randomise  # noqa: E402  # pyright: ignore[reportMissingImports]

VISION = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
    "vision_use_head": False,
}


def main() -> None:
    """Writes `gemma3/` anew."""
    text = {**SIZES, **CASES["gemma3_text"][1]}
    config = hf.Gemma3Config(
        text_config=text,
        vision_config=VISION,
        mm_tokens_per_image=4,
        image_token_index=63,
        boi_token_index=61,
        eoi_token_index=62,
    )
    model = hf.Gemma3ForConditionalGeneration._from_config(
        config, attn_implementation="eager"
    )
    randomise(model, 7)
    model.eval()
    inputs = np.random.default_rng(7).integers(3, 60, size=(2, 12))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(inputs)).logits.numpy()
    folder = HERE / "gemma3"
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    np.savez(folder / "golden.npz", inputs=inputs.astype(np.int32), logits=logits)


if __name__ == "__main__":
    main()
