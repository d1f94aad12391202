"""Chat templates: what they may do, and what the built-in ones write."""

import time

import pytest

from jaxalign.data.text.reading import UnmarkableError
from jaxalign.data.text.template_files import builtin_template
from jaxalign.data.text.templates import BUILTIN, ChatTemplate
from jaxalign.errors import UserError

TURNS = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "U"},
    {"role": "assistant", "content": "A"},
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def render(source, messages=TURNS, **kwargs):
    return ChatTemplate(source, "test", TOKENS).render(messages, **kwargs)


WRITTEN = {
    "chatml": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n"
    "<|im_start|>assistant\nA<|im_end|>\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>",
    "gemma": "<s><start_of_turn>user\nS\n\nU<end_of_turn>\n"
    "<start_of_turn>model\nA<end_of_turn>\n",
    "qwen": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\nA<|im_end|>\n",
    "mistral": "<s>[INST] S\n\nU[/INST] A</s>",
    "zephyr": "<|system|>\nS</s>\n<|user|>\nU</s>\n<|assistant|>\nA</s>\n",
}


@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("twin", ["", ".training"])
def test_what_the_builtin_templates_write(name, twin):
    template = builtin_template(name + twin, TOKENS)
    assert template.render(TURNS) == WRITTEN[name]
    assert template.marks_generation is bool(twin)


@pytest.mark.parametrize("name", BUILTIN)
def test_the_whole_begins_with_the_prompt_and_its_header(name):
    template = builtin_template(name, TOKENS)
    prompt = template.render(TURNS[:-1], add_generation_prompt=True)
    assert template.render(TURNS).startswith(prompt)


def test_there_is_no_other_builtin_template():
    with pytest.raises(UserError, match="no built-in chat template 'vicuna'"):
        builtin_template("vicuna")


def test_what_templates_find_in_their_world():
    source = "{{ messages | tojson }}{{ tools }}{{ eos_token }}{{ mood }}"
    said = render(source, [{"role": "user", "content": "<é&>"}], mood="glad")
    assert said == '[{"role": "user", "content": "<é&>"}]None</s>glad'
    assert render("{{ strftime_now('%Y') }}") == time.strftime("%Y")
    assert render("{{ tools[0].name }}", tools=[{"name": "t"}]) == "t"
    assert render("{{ [1] | tojson(indent=2) }}") == "[\n  1\n]"


def test_a_template_may_refuse():
    with pytest.raises(UserError, match="test cannot be used.*: no system.*Mend"):
        render("{{ raise_exception('no system') }}")


def test_only_plain_data_enters():
    with pytest.raises(UserError, match="type object"):
        render("x", [{"role": "user", "content": object()}])


def test_an_ordinary_template_may_loop_for_long():
    turns = [{"role": "user", "content": "word " * 20}] * 5_000
    assert len(builtin_template("chatml").render(turns)) > 500_000


def test_a_template_that_cuts_the_completion_cannot_be_trained_on():
    source = "{% for m in messages %}{{ m.role ~ m.content[:5] }}{% endfor %}"
    turns = [*TURNS[:2], {"role": "assistant", "content": "one two"}]
    with pytest.raises(UnmarkableError, match=r"--chat-template NAME\.training"):
        ChatTemplate(source, "cutting", TOKENS).render_marked(turns)


@pytest.mark.parametrize("change", [".split('e')[0]", ".split('e')[-1]"])
def test_a_text_of_which_a_part_is_left_out_is_named(change):
    source = "{% for m in messages %}{{ m.role ~ m.content" + change + " }}{% endfor %}"
    turns = [*TURNS[:2], {"role": "assistant", "content": "one two"}]
    lost = ChatTemplate(source, "cutting", TOKENS).render_marked(turns).lost
    assert lost == ("a part of the content of message 2 (assistant)",)


def test_one_generation_block_for_each_turn():
    source = (
        "{% for m in messages %}{% if loop.index0 == 2 %}"
        "{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    twice = [*TURNS, *TURNS[1:]]
    assert len(ChatTemplate(source, "t", TOKENS).render_marked(TURNS).spans) == 1
    with pytest.raises(UnmarkableError, match="1 generation blocks for 2 assistant"):
        ChatTemplate(source, "t", TOKENS).render_marked(twice)


def test_private_characters_of_the_user_are_refused():
    turns = [*TURNS[:1], {"role": "user", "content": "\U00100000"}]
    with pytest.raises(UserError, match="plane 16"):
        builtin_template("chatml").render_marked(turns)


@pytest.mark.parametrize("said", ["A", " A", "A \n", "\n\nA\n\n"])
@pytest.mark.parametrize(
    ("name", "stop"), [("chatml", "<|im_end|>"), ("llama3", "<|eot_id|>")]
)
def test_white_space_around_a_completion(name, stop, said):
    turns = [*TURNS[:2], {"role": "assistant", "content": said}]
    rendered = builtin_template(name, TOKENS).render_marked(turns, stops=[stop])
    (span,) = rendered.spans
    kept = said if name == "chatml" else said.strip()
    assert rendered.text[span.start : span.end] == kept + stop


def test_contents_may_be_lists_of_parts():
    source = (
        "{% for m in messages %}{{ m.role }}|"
        "{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"
    )
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    turns = [TURNS[1], {"role": "assistant", "content": parts}]
    rendered = ChatTemplate(source, "t").render_marked(turns)
    (span,) = rendered.spans
    assert rendered.text[span.start : span.end] == "one two"
