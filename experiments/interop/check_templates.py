"""Other people's chat templates: the tokens of transformers, the right ones trained.

Claim: for every template of a folder and seven conversations (one turn, several, a
system message, odd white space, thoughts in the text, thoughts beside it, tools) the
library writes the text and the ids of transformers, and trains what the assistant says
with its stop token, or refuses the row with a reason.

    python experiments/interop/check_templates.py DIR   # needs transformers, jinja2

DIR holds `NAME.jinja` files; the package `trl` ships 72 in `trl/chat_templates`. The
conversations that transformers refuses too are counted apart. Where a template has
generation blocks the mask must be that of transformers; elsewhere there is none to
compare with, and three things are asked of ours:

- each word of the assistant is trained, and no word of anybody else;
- a run of trained tokens begins where the text leaves the prompt that transformers
  renders for a model to go on from, and ends with a stop token or the turn's last word;
- where `NAME_training.jinja` writes the same text, what its blocks hold and ours does
  not is white space or belongs to that prompt, and nothing the other way round.

An EOS that is appended where a template writes no end of turn is left out of the
comparison. TRL's 72: half a minute. Expected: wrong 0, refused 20 at most, each of them
a row whose tools or calls the template does not write.
"""

import collections
import json
import os
import pathlib
import re
import sys
import tempfile
from typing import Any, NamedTuple

import numpy as np
import tokenizers
import transformers  # pyright: ignore[reportMissingImports]

from jaxalign.data.records.record import Conversation, Message
from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.tokenizer import Tokenizer, load_tokenizer
from jaxalign.errors import UserError

CALL = {
    "id": "call12345",
    "type": "function",
    "function": {"name": "lookup", "arguments": {"place": "oslofjord", "days": 2}},
}
TOOL = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "Describes tomorrow.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string", "description": "Whereabouts."}},
            "required": ["place"],
        },
    },
}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, **extra: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **extra}


# Words of one message stand in no other message and in no template.
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "one turn": [user("Whatsoever glitters?"), assistant("Zirconium, mostly.")],
    "several turns": [
        user("Whatsoever glitters?"),
        assistant("Zirconium, mostly."),
        user("Anythingelse perchance?"),
        assistant("Quicksilver too."),
    ],
    "system": [
        {"role": "system", "content": "Abbreviate everywhere."},
        user("Whatsoever glitters?"),
        assistant("Zirconium, mostly."),
    ],
    "white space": [
        user("  Whatsoever glitters? \n"),
        assistant("\n Zirconium, mostly.  "),
        user("\tAnythingelse perchance?"),
        assistant(" Quicksilver too.\n\n"),
    ],
    "thoughts in the text": [
        user("Whatsoever glitters?"),
        assistant("<think>\nPonderously gleaming.\n</think>\n\nZirconium, mostly."),
        user("Anythingelse perchance?"),
        assistant("<think>\nLiquidly shining.\n</think>\n\nQuicksilver too."),
    ],
    "thoughts beside it": [
        user("Whatsoever glitters?"),
        assistant("Zirconium, mostly.", reasoning_content="Ponderously gleaming."),
        user("Anythingelse perchance?"),
        assistant("Quicksilver too.", reasoning_content="Liquidly shining."),
    ],
    "tools": [
        user("Whatsoever glitters?"),
        assistant("", tool_calls=[CALL]),
        {
            "role": "tool",
            "content": "drizzling",
            "name": "lookup",
            "tool_call_id": "call12345",
        },
        assistant("Zirconium, mostly."),
    ],
}


class Template(NamedTuple):
    """A template under both libraries."""

    name: str
    source: str
    ours: Tokenizer
    theirs: Any
    parts: bool

    def messages(self, conversation: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The conversation as transformers must get it for this template."""
        if not self.parts:
            return conversation
        return [
            {**m, "content": [{"type": "text", "text": m["content"]}]}
            for m in conversation
        ]


def open_template(file: pathlib.Path, folder: pathlib.Path) -> Template:
    """Writes a model folder with the template and a tokenizer that knows its tokens."""
    source = file.read_text(encoding="utf-8")
    tags = r"<\|?[^<>\s'\"{}=]{1,40}\|?>|<｜[^<>]{1,40}｜>"
    tags += r"|\[/?[A-Z_]{3,30}\]|\[\|[^\[\]]{1,40}\|\]"
    found = {"<s>", "</s>", *re.findall(tags, source)}
    # Tags of thoughts and calls are tokens, and not special, as in most checkpoints.
    plain = {
        x for x in found if re.fullmatch(r"</?(think|tools?|tool_\w+|arg_\w+)>", x)
    }
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([source, json.dumps(CONVERSATIONS)], trainer)
    backend.add_special_tokens(
        [tokenizers.AddedToken(x, normalized=False) for x in sorted(found - plain)]
    )
    backend.add_tokens(
        [tokenizers.AddedToken(x, normalized=False) for x in sorted(plain)]
    )
    folder.mkdir()
    backend.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    config = json.dumps({**names, "add_bos_token": False})
    (folder / "tokenizer_config.json").write_text(config)
    (folder / "chat_template.jinja").write_text(source, encoding="utf-8")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    theirs.chat_template = source
    # Processors give lists of parts to the templates of models that read pictures.
    parts = bool(re.search(r"content'\]\[0\]", source))
    return Template(file.stem, source, load_tokenizer(folder), theirs, parts)


def compare(template: Template, name: str, twin: Template | None) -> tuple[str, str]:
    """What became of a conversation, and why."""
    conversation = CONVERSATIONS[name]
    tools = [TOOL] if name == "tools" else None
    messages = template.messages(conversation)

    def rendered(turns, header=False, by=template) -> str:
        return by.theirs.apply_chat_template(
            turns, tools=tools, tokenize=False, add_generation_prompt=header
        )

    try:
        text = rendered(messages)
        expected = template.theirs(text, add_special_tokens=False)["input_ids"]
    except Exception as error:
        return "refused by transformers too", str(error)
    try:
        record = Conversation(
            tuple(_message(m) for m in conversation),
            tools=None if tools is None else tuple(tools),
        )
        (got,) = Encoder(template.ours)(record).sequences
    except UserError as error:
        return "refused", re.sub(r"The chat template \S+", "it", str(error))
    closed = len(got.ids) - len(expected)
    if got.ids[: len(expected)].tolist() != expected or closed not in (0, 1):
        return "wrong", f"ids: {template.ours.decode(got.ids)!r} for {text!r}"
    mask = np.zeros(len(expected) + 1, bool)
    mask[:-1] = got.trained[: len(expected)]
    offsets = np.array(
        template.theirs(text, add_special_tokens=False, return_offsets_mapping=True)[
            "offset_mapping"
        ]
    )
    if "endgeneration" in template.source:
        theirs = _mask(template, messages, tools, template.source)
        same = mask[:-1].tolist() == theirs
        return ("equal", "") if same else ("wrong", "another mask")
    fault = _fault(conversation, text, mask[:-1], offsets, template.ours)
    fault = fault or _edges(rendered, messages, text, mask, offsets, template.ours)
    if not fault and twin and rendered(messages, by=twin) == text:
        theirs = np.array(_mask(template, messages, tools, twin.source))
        fault = _against(theirs, messages, rendered, text, mask[:-1], offsets)
    return ("wrong", fault) if fault else ("equal", "")


def _message(turn: dict[str, Any]) -> Message:
    extra = {k: v for k, v in turn.items() if k not in ("role", "content")}
    return Message(turn["role"], turn["content"], extra)


def _mask(template: Template, messages, tools, source: str) -> list[bool]:
    out = template.theirs.apply_chat_template(
        messages,
        tools=tools,
        chat_template=source,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    return [bool(x) for x in out["assistant_masks"]]


def _words(value: Any) -> set[str]:
    return set(re.findall(r"[A-Za-z]{6,}", json.dumps(value)))


def _fault(conversation, text, mask, offsets, tokenizer) -> str:
    """A word on the wrong side of the mask, or "".

    What a tool is called and described with is said by the row, not by the assistant.
    """
    ours, others = set(), _words(TOOL["function"]["description"])
    for turn in conversation:
        if turn["role"] == "assistant":
            arguments = [x["function"]["arguments"] for x in turn.get("tool_calls", [])]
            said = [turn["content"], turn.get("reasoning_content"), arguments]
            ours |= _words(said)
        else:
            others |= _words(turn["content"])
    for words, wanted in ((ours, True), (others, False)):
        for word in words:
            for found in re.finditer(word, text):
                inside = (offsets[:, 1] > found.start()) & (offsets[:, 0] < found.end())
                if (mask[inside] != wanted).any():
                    return f"{word!r} is {'not ' * wanted}trained in {text!r}"
    if not mask.any():
        return "nothing is trained"
    return ""


def _edges(rendered, messages, text, mask, offsets, tokenizer) -> str:
    """Where a run of trained tokens begins or ends wrongly, or ""."""
    edges = np.flatnonzero(np.diff(mask.astype(int), prepend=0))
    turns = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    if len(edges) != 2 * len(turns):
        return f"{len(edges) // 2} trained runs for {len(turns)} turns in {text!r}"
    for i, first, end in zip(turns, edges[::2], edges[1::2], strict=True):
        before = text[: offsets[first, 0]]
        prompt, bare = rendered(messages[:i], True), rendered(messages[:i])
        header = prompt[len(os.path.commonprefix([prompt, bare])) :]
        shown = [n for n in range(len(header) + 1) if before.endswith(header[:n])]
        if header and max(shown) == 0:
            return f"a run begins before its header: {before[-40:]!r}"
        behind = text[offsets[end - 1, 1] :]
        last = template_token(tokenizer, text, offsets[end - 1])
        word = text[offsets[end - 1, 0] : offsets[end - 1, 1]].strip()
        if not last and not word:
            return f"a run ends in white space before {behind[:20]!r}"
    return ""


def template_token(tokenizer: Tokenizer, text: str, offset) -> bool:
    """Whether a token is a stop token."""
    return text[offset[0] : offset[1]] in tokenizer.stop_texts


def _against(theirs, messages, rendered, text, mask, offsets) -> str:
    """What differs from the generation blocks of the twin, or ""."""
    # Some templates end a call with the token that asks for its result.
    ours = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    ends = [rendered(messages[: i + 1]) for i in ours]
    for t in np.flatnonzero(mask & ~theirs):
        if text[: offsets[t, 1]] not in ends:
            token = text[offsets[t, 0] : offsets[t, 1]]
            return f"trained, and not within the twin's blocks: {token!r}"
    opened = "".join(rendered(messages[:i], True)[-40:] for i in ours)
    for t in np.flatnonzero(theirs & ~mask):
        token = text[offsets[t, 0] : offsets[t, 1]]
        if token.strip() and token not in opened and token != "</s>":
            return f"within the twin's blocks, and not trained: {token!r}"
    return ""


def main(folder: str) -> int:
    """Prints the counts, and each refusal and fault; 1 if something is wrong."""
    transformers.logging.set_verbosity_error()
    files = sorted(pathlib.Path(folder).glob("*.jinja"))
    counts: collections.Counter[str] = collections.Counter()
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        found = {x.stem: open_template(x, pathlib.Path(scratch, x.stem)) for x in files}
        for template in found.values():
            twin = found.get(f"{template.name}_training")
            for name in CONVERSATIONS:
                what, why = compare(template, name, twin)
                counts[what] += 1
                if what in ("wrong", "refused"):
                    lines.append(f"{what}: {template.name}, {name}: {why}")
    print("\n".join(sorted(lines)))
    print(f"{len(files)} templates, {len(CONVERSATIONS)} conversations each")
    for what in ("equal", "refused", "refused by transformers too", "wrong"):
        print(f"{what}: {counts[what]}")
    return int(counts["wrong"] > 0 or not files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
