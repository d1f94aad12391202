"""Makes the tiny tokenizers and the golden ids and masks of chat templates.

    python -m venv venv && venv/bin/pip install transformers jinja2 tokenizers
    venv/bin/python tests/golden/templates/make_golden.py

Writes `byte_level.json`, `metaspace.json` (tokenizers trained on the texts below) and
`golden.json`: what `apply_chat_template` of transformers makes of every conversation
with every template, and its version.
"""

import json
import pathlib

import tokenizers
import transformers  # pyright: ignore[reportMissingImports]
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
BUILTIN = HERE.parents[2] / "jaxalign/data/text/builtin_templates"

SPECIAL = """<unk> <s> </s> <|endoftext|> <|im_start|> <|im_end|> <|begin_of_text|>
<|start_header_id|> <|end_header_id|> <|eot_id|> <bos> <eos> <start_of_turn>
<end_of_turn> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_CALLS]
[TOOL_RESULTS] [/TOOL_RESULTS] <|user|> <|assistant|> <|system|> <|end|>""".split()  # noqa: SIM905

# family -> tokenizer, BOS, EOS, template with generation blocks
FAMILIES = {
    "chatml": ("byte_level", None, "<|im_end|>", BUILTIN / "chatml.training.jinja"),
    "llama3": (
        "byte_level",
        "<|begin_of_text|>",
        "<|eot_id|>",
        BUILTIN / "llama3.training.jinja",
    ),
    "qwen": ("byte_level", None, "<|im_end|>", BUILTIN / "qwen.training.jinja"),
    "gemma": ("metaspace", "<bos>", "<eos>", BUILTIN / "gemma.training.jinja"),
    "mistral": ("metaspace", "<s>", "</s>", BUILTIN / "mistral.training.jinja"),
    "zephyr": ("metaspace", "<s>", "</s>", BUILTIN / "zephyr.training.jinja"),
    "default_system": (
        "byte_level",
        None,
        "<|im_end|>",
        HERE / "default_system.training.jinja",
    ),
    "headers": ("metaspace", "<s>", "</s>", HERE / "headers.training.jinja"),
    "macros": ("byte_level", None, "<|endoftext|>", HERE / "macros.training.jinja"),
}


def turns(*contents):
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": x} for i, x in enumerate(contents)]


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather <now> & here",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "type": "function",
            "function": {"name": "weather", "arguments": {"city": "Zürich"}},
        }
    ],
}
CONVERSATIONS = {
    "one_turn": turns("What is the time?", "It is noon."),
    "several_turns": turns("Hi", "Hello!", "And now?", "Still here.", "Bye", "Bye!"),
    "system": [{"role": "system", "content": "Be brief."}, *turns("Hi", "Yes.")],
    "empty_system": [{"role": "system", "content": ""}, *turns("Hi", "Yes.")],
    "unicode": turns("Größe? 你好 👩‍👩‍👧 e\u0301", "Ça va, שלום, 👍🏽 नमस्ते \u00a0x"),
    "spaces": turns("  two before, one behind ", " leading\n\nand trailing  \n"),
    "line_ends": turns("a\r\nb\n\n", "\n\nc\td\n"),
    "tools": [
        {"role": "user", "content": "Weather in Zürich?"},
        CALL,
        {"role": "tool", "content": '{"t": 3}'},
        {"role": "assistant", "content": "3 degrees."},
    ],
    "open": turns("What is the time?"),
}
CORPUS = [
    *[m["content"] for c in CONVERSATIONS.values() for m in c] * 3,
    *["the time of the day is noon and the weather is here", "user assistant system"]
    * 5,
]


def train(kind):
    if kind == "byte_level":
        tok = tokenizers.Tokenizer(models.BPE())
        tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tok.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tok = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
        tok.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        tok.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        alphabet = ["▁"]
    special = SPECIAL + [f"<0x{i:02X}>" for i in range(256)] * (kind == "metaspace")
    trainer = trainers.BpeTrainer(
        vocab_size=len(special) + 350,
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tok.train_from_iterator(CORPUS, trainer)
    content = json.loads(tok.to_str())
    # The byte tokens are pieces of the vocabulary, not texts to be recognised.
    content["added_tokens"] = [
        x for x in content["added_tokens"] if not x["content"].startswith("<0x")
    ]
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    (HERE / f"{kind}.json").write_text(text + "\n", encoding="utf-8")


def golden(family):
    kind, bos, eos, file = FAMILIES[family]
    tok = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(HERE / f"{kind}.json"), bos_token=bos, eos_token=eos
    )
    for name, messages in CONVERSATIONS.items():
        tools = [TOOL] if name == "tools" else None
        if tools and "raise_exception" in file.read_text() and family != "mistral":
            continue
        options = {
            "chat_template": file.read_text(),
            "tools": tools,
            "add_generation_prompt": name == "open",
        }
        out = tok.apply_chat_template(
            messages, return_dict=True, return_assistant_tokens_mask=True, **options
        )
        yield {
            "family": family,
            "conversation": name,
            "text": tok.apply_chat_template(messages, tokenize=False, **options),
            "ids": out["input_ids"],
            "mask": out["assistant_masks"],
        }


def main():
    for kind in ("byte_level", "metaspace"):
        train(kind)
    families = {
        name: {"tokenizer": kind, "bos": bos, "eos": eos, "template": file.name}
        for name, (kind, bos, eos, file) in FAMILIES.items()
    }
    result = {
        "transformers": transformers.__version__,
        "families": families,
        "conversations": CONVERSATIONS,
        "tools": [TOOL],
        "cases": [case for name in FAMILIES for case in golden(name)],
    }
    text = json.dumps(result, ensure_ascii=False, indent=0)
    (HERE / "golden.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
