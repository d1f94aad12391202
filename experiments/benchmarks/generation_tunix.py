"""Generation by Tunix's `Sampler`, measured in this process; prints one JSON line.

    python -m experiments.benchmarks.generation_tunix --shape A

Run it with an interpreter that has google-tunix.
"""

import importlib.metadata

from experiments.benchmarks.generation_work import (
    BOS,
    NEW,
    PROMPT,
    arguments,
    prompts_of,
    report_generation,
    time_calls,
)
from experiments.benchmarks.shapes import SHAPES
from experiments.benchmarks.tunix_peer import model_of


class Ids:
    """The tokenizer that it asks for: a text is the number of a prompt."""

    def __init__(self, prompts: list[list[int]]):
        self._prompts = prompts

    def encode(self, text: str, **_) -> list[int]:
        return self._prompts[int(text)][1:]  # it puts the BOS there itself

    def decode(self, ids, **_) -> str:
        return ""

    def bos_id(self) -> int:
        return BOS

    def eos_id(self) -> int:
        return 2

    def pad_id(self) -> int:
        return 0


def measure(args):
    import jax
    from tunix.generate import sampler  # pyright: ignore[reportMissingImports]

    shape = SHAPES[args.shape]
    prompts = prompts_of(shape)
    cache = sampler.CacheConfig(
        cache_size=PROMPT + NEW,
        num_layers=shape.layers,
        num_kv_heads=shape.kv_heads,
        head_dim=shape.width // shape.heads,
    )
    sample = sampler.Sampler(model_of(shape), Ids(prompts), cache)

    def call() -> list[int]:
        out = sample(
            [str(i) for i in range(len(prompts))],
            max_generation_steps=NEW,
            max_prompt_length=PROMPT,
            temperature=1.0,
            top_p=1.0,
            eos_tokens=[-1],
            seed=1,
        )
        return [len(ids) for ids in out.tokens]

    report_generation(
        "generate",
        args,
        time_calls(call, args.steps),
        lib="tunix",
        version=importlib.metadata.version("google-tunix"),
        jax=jax.__version__,
    )


if __name__ == "__main__":
    measure(arguments(__doc__).parse_args())
