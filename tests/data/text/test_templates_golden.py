"""Texts, ids and masks equal to those of transformers' apply_chat_template."""

import pytest

from jaxalign.data.records.record import Conversation, Message, PromptOnly
from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.tokenizer import load_tokenizer
from jaxalign.errors import RowError
from tests.data.chat_fixtures import golden, model_folder, template_text

GOLDEN = golden()
CLOSED = [x for x in GOLDEN["cases"] if x["conversation"] != "open"]
# Templates that pass over tools and calls, which the reference lets them do.
DEAF = [("default_system", "tools"), ("headers", "tools")]
BUILTIN = {"chatml", "llama3", "qwen", "gemma", "mistral", "zephyr"}


def name(case):
    return f"{case['family']}-{case['conversation']}"


def messages_of(case):
    turns = GOLDEN["conversations"][case["conversation"]]
    known = ("role", "content")
    return tuple(
        Message(x["role"], x["content"], {k: x[k] for k in x if k not in known})
        for x in turns
    )


def tools_of(case):
    return tuple(GOLDEN["tools"]) if case["conversation"] == "tools" else None


def tokenizer_of(case, folder, file=None):
    family = GOLDEN["families"][case["family"]]
    folder = model_folder(
        folder,
        kind=family["tokenizer"],
        bos=family["bos"],
        eos=family["eos"],
        template=template_text(file or family["template"]),
    )
    return load_tokenizer(folder)


def expected_mask(case):
    return [bool(x) for x in case["mask"]]


def test_at_least_eight_families():
    assert len(GOLDEN["families"]) >= 8
    assert {x["conversation"] for x in GOLDEN["cases"]} == set(GOLDEN["conversations"])


@pytest.mark.parametrize("case", CLOSED, ids=name)
def test_generation_blocks(case, tmp_path):
    encoder = Encoder(tokenizer_of(case, tmp_path))
    record = Conversation(messages=messages_of(case), tools=tools_of(case))
    if (case["family"], case["conversation"]) in DEAF:
        with pytest.raises(RowError, match="leaves out the call of 'weather'"):
            encoder(record)
        return
    (got,) = encoder(record).sequences
    assert got.ids.tolist() == case["ids"]
    assert got.trained.tolist() == expected_mask(case)


@pytest.mark.parametrize(
    "case",
    [
        x
        for x in CLOSED
        if x["family"] in BUILTIN
        and (x["conversation"] != "tools" or x["family"] in ("qwen", "mistral"))
    ],
    ids=name,
)
def test_without_generation_blocks_the_same_tokens_are_trained(case, tmp_path):
    plain = tokenizer_of(case, tmp_path, f"{case['family']}.jinja")
    assert "endgeneration" not in template_text(f"{case['family']}.jinja")
    record = Conversation(messages=messages_of(case), tools=tools_of(case))
    (got,) = Encoder(plain)(record).sequences
    assert got.ids.tolist() == case["ids"]
    assert got.trained.tolist() == expected_mask(case)


@pytest.mark.parametrize(
    "case", [x for x in GOLDEN["cases"] if x["family"] in BUILTIN], ids=name
)
def test_training_twins_render_the_same_bytes(case, tmp_path):
    for i, file in enumerate((f"{case['family']}.jinja", None)):
        tokenizer = tokenizer_of(case, tmp_path / str(i), file)
        assert tokenizer.template is not None
        text = tokenizer.template.render(
            [x.as_dict() for x in messages_of(case)],
            tools=tools_of(case),
            add_generation_prompt=case["conversation"] == "open",
        )
        assert text == case["text"]


@pytest.mark.parametrize(
    "case", [x for x in GOLDEN["cases"] if x["conversation"] == "open"], ids=name
)
def test_prompts_for_sampling(case, tmp_path):
    encoder = Encoder(tokenizer_of(case, tmp_path))
    assert encoder.prompt(PromptOnly(messages_of(case))).tolist() == case["ids"]
