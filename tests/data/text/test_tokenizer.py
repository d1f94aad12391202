"""Tokenizers read from model folders."""

import json

import pytest

from jaxalign.data.text.tokenizer import load_tokenizer
from jaxalign.errors import UserError
from tests.data.chat_fixtures import chatml, model_folder, template_text


def edit_json(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_ids_and_offsets_lead_back_to_the_text(tmp_path):
    tokenizer = chatml(tmp_path)
    text = "<|im_start|>user\nGröße 你好<|im_end|>\n"
    ids, offsets = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert offsets[0].tolist() == [0, len("<|im_start|>")]
    assert int(offsets.max()) == len(text)
    assert tokenizer.token(ids[0]) == "<|im_start|>"


def test_stop_ids_are_the_union_of_all_that_stop(tmp_path):
    folder = model_folder(
        tmp_path,
        eos="<|endoftext|>",
        template=template_text("chatml.jinja"),
        generation={"eos_token_id": [0, 2]},
    )
    tokenizer = load_tokenizer(folder)
    named = {"<|endoftext|>", "<|im_end|>", "<unk>", "</s>"}
    assert {tokenizer.token(i) for i in tokenizer.stop_ids} == named


def test_without_a_generation_config_the_models_own_says_what_stops(tmp_path):
    """As transformers reads it; with one, it alone counts."""
    folder = model_folder(tmp_path, eos="<|im_end|>")
    (folder / "config.json").write_text('{"eos_token_id": [6, 8]}')
    assert load_tokenizer(folder).stop_ids >= {6, 8}
    (folder / "generation_config.json").write_text('{"eos_token_id": 7}')
    assert not {6, 8} & load_tokenizer(folder).stop_ids


def test_one_stop_id_in_the_generation_config(tmp_path):
    tokenizer = chatml(tmp_path, generation={"eos_token_id": 7})
    assert 7 in tokenizer.stop_ids
    assert tokenizer.eos_id in tokenizer.stop_ids


@pytest.mark.parametrize("twin", ["gemma.jinja", "gemma.training.jinja"])
def test_the_end_of_turn_of_a_template_stops(twin, tmp_path):
    folder = model_folder(
        tmp_path,
        kind="metaspace",
        bos="<bos>",
        eos="<eos>",
        template=template_text(twin),
    )
    tokenizer = load_tokenizer(folder)
    named = {"<eos>", "<end_of_turn>"}
    assert {tokenizer.token(i) for i in tokenizer.stop_ids} == named


def test_without_a_pad_token_the_eos_pads(tmp_path):
    tokenizer = chatml(tmp_path / "a")
    assert tokenizer.pad_id == tokenizer.eos_id
    assert chatml(tmp_path / "b", pad_token="<unk>").pad_id == 0


def test_special_tokens_may_be_objects_or_come_from_the_older_map(tmp_path):
    folder = model_folder(tmp_path, eos=None)
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"eos_token": {"content": "</s>"}, "bos_token": "<s>"})
    )
    edit_json(folder / "tokenizer_config.json", bos_token={"content": "<bos>"})
    (folder / "tokenizer_config.json").write_text('{"bos_token": {"content": "<bos>"}}')
    tokenizer = load_tokenizer(folder)
    assert tokenizer.token(tokenizer.bos_id or 0) == "<bos>"
    assert tokenizer.token(tokenizer.eos_id or 0) == "</s>"


@pytest.mark.parametrize(
    ("flag", "adds"), [(True, True), (False, False), (None, False)]
)
def test_add_bos_token(flag, adds, tmp_path):
    assert chatml(tmp_path, bos="<s>", add_bos_token=flag).adds_bos is adds


def test_a_post_processor_that_writes_a_bos_counts(tmp_path):
    folder = model_folder(tmp_path, bos="<s>")
    step = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    edit_json(
        folder / "tokenizer.json",
        post_processor={
            "type": "TemplateProcessing",
            "single": [step, text],
            "pair": [step, text, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
    )
    assert load_tokenizer(folder).adds_bos
    edit_json(folder / "tokenizer_config.json", add_bos_token=False)
    assert not load_tokenizer(folder).adds_bos


def test_truncation_and_padding_of_the_file_are_switched_off(tmp_path):
    folder = model_folder(tmp_path)
    edit_json(
        folder / "tokenizer.json",
        truncation={
            "direction": "Right",
            "max_length": 3,
            "strategy": "LongestFirst",
            "stride": 0,
        },
    )
    ids, _ = load_tokenizer(folder).encode("a long text about nothing")
    assert len(ids) > 3


def test_the_template_file_wins_over_the_key(tmp_path):
    tokenizer = chatml(tmp_path, template="file", chat_template="key")
    assert tokenizer.template is not None
    assert tokenizer.template.source == "file"
    (tmp_path / "chat_template.jinja").unlink()
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.template is not None
    assert tokenizer.template.source == "key"


def test_a_list_of_named_templates_has_a_default(tmp_path):
    named = [
        {"name": "tool_use", "template": "no"},
        {"name": "default", "template": "yes"},
    ]
    tokenizer = load_tokenizer(model_folder(tmp_path, chat_template=named))
    assert tokenizer.template is not None
    assert tokenizer.template.source == "yes"


def test_another_template_can_be_chosen(tmp_path):
    folder = model_folder(tmp_path, template="own")
    own = load_tokenizer(folder)
    twin = load_tokenizer(folder, chat_template="zephyr.training")
    assert twin.template is not None
    assert twin.template.marks_generation
    assert own.fingerprint != twin.fingerprint
    file = tmp_path / "mine.jinja"
    file.write_text("{{ messages }}")
    mine = load_tokenizer(folder, chat_template=str(file))
    assert mine.template is not None
    assert mine.template.source == "{{ messages }}"
    with pytest.raises(UserError, match="neither a file nor one of"):
        load_tokenizer(folder, chat_template="chatmal")


def test_the_fingerprint_sees_stop_ids_and_bos(tmp_path):
    base = chatml(tmp_path / "a").fingerprint
    assert base == chatml(tmp_path / "b").fingerprint
    assert base != chatml(tmp_path / "c", generation={"eos_token_id": 1}).fingerprint
    with_bos = chatml(tmp_path / "d", bos="<s>").fingerprint
    assert with_bos != chatml(tmp_path / "e", bos="<s>", add_bos_token=True).fingerprint


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.unlink(), "no tokenizer.json"),
        (lambda f: f.rename(f.with_name("tokenizer.model")), "SentencePiece"),
        (lambda f: f.write_text("{}"), "not a tokenizer file"),
        (lambda f: (f.parent / "tokenizer_config.json").write_text("{"), "not valid"),
        (
            lambda f: edit_json(f.parent / "tokenizer_config.json", eos_token="<x>"),
            "does not know",
        ),
    ],
)
def test_damaged_folders_are_refused(damage, message, tmp_path):
    folder = model_folder(tmp_path)
    damage(folder / "tokenizer.json")
    with pytest.raises(UserError, match=message):
        load_tokenizer(folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="There is no model folder"):
        load_tokenizer(tmp_path / "nowhere")


def test_ids_without_a_token_are_found(tmp_path):
    """Gaps and the rows behind the last token; an id that stops is never among them."""
    folder = model_folder(tmp_path, generation={"eos_token_id": [0, 400]})
    file = folder / "tokenizer.json"
    data = json.loads(file.read_text())
    used = {x["id"] for x in data["added_tokens"]} | set(
        data["model"]["vocab"].values()
    )
    tokenizer = load_tokenizer(folder)
    for rows in (max(used) + 1, max(used) + 9, 500, 5):
        missing = {
            i for first, end in tokenizer.unused_ids(rows) for i in range(first, end)
        }
        assert missing == {i for i in range(rows) if i not in used and i != 400}
    assert tokenizer.unused_ids(max(used) + 1) == ()
    gaps = {token: 2 * i for token, i in data["model"]["vocab"].items() if i < 40}
    model = {**data["model"], "vocab": gaps, "merges": []}
    file.write_text(json.dumps({**data, "model": model, "added_tokens": []}))
    (folder / "tokenizer_config.json").write_text("{}")
    used = {*gaps.values(), 0, 400}
    found = load_tokenizer(folder).unused_ids(80)
    assert {i for a, b in found for i in range(a, b)} == {*range(80)} - used
