"""Chat templates: what they may do, and what the built-in ones write."""

import time

import pytest

from jaxalign.data.text import sandbox
from jaxalign.data.text.marks import UnmarkableError
from jaxalign.data.text.templates import BUILTIN, ChatTemplate, builtin_template
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


NEVER_ENDING = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}"
    "{% endfor %}{% endfor %}",
    "recursion": "{% macro f(n) %}{{ f(n - 1) }}{% endmacro %}{{ f(0) }}",
    "branching": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
    "{% endmacro %}{{ f(60) }}",
    "doubling": "{% set n = namespace(x='ab') %}{% for i in range(99) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "adding": "{% set n = namespace(x='ab') %}{% for i in range(99) %}"
    "{% set n.x = n.x + n.x %}{% endfor %}",
    "nesting": "{% set n = namespace(x=1) %}{% for i in range(99) %}"
    "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "multiplying": "{{ 'a' * 10 ** 12 }}",
    "powers": "{{ 9 ** 9 ** 9 ** 9 }}",
    "percent": "{{ '%999999999d' % 1 }}",
    "format": "{{ '{:>999999999}'.format(1) }}",
    "format width": "{{ '{:>{w}}'.format(1, w=10 ** 9) }}",
    "ljust": "{{ 'a'.ljust(10 ** 12) }}",
    "replace": "{{ ('a' * 9999) | replace('a', 'b' * 999999) }}",
    "join": "{{ (['a' * 99999] * 99999) | join }}",
    "output": "{% for i in range(99999) %}" + "x" * 5000 + "{% endfor %}",
    "block": "{% set x %}{% for i in range(99999) %}" + "x" * 5000 + "{% endfor %}"
    "{% endset %}",
    "parentheses": "{{" + "(" * 100_000 + "}}",
    "source": "x" * 1_000_001,
    "loader": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "class by attr": "{{ (''|attr('__class__')).__mro__ }}",
    "class by format": "{{ '{0.__class__.__mro__}'.format(1).x.y }}",
    "globals": "{{ raise_exception.__globals__['__builtins__'] }}",
    "change": "{{ messages.append(1) }}",
}


@pytest.mark.parametrize("source", NEVER_ENDING.values(), ids=NEVER_ENDING)
def test_hostile_templates_are_refused_in_time(source, monkeypatch):
    assert sandbox.TIME_LIMIT == 2.0
    monkeypatch.setattr(sandbox, "TIME_LIMIT", 0.3)
    start = time.monotonic()
    with pytest.raises(UserError, match="cannot be used for this conversation"):
        render(source)
    assert time.monotonic() - start < 2


def test_an_ordinary_template_may_loop_for_long():
    turns = [{"role": "user", "content": "word " * 20}] * 5_000
    assert len(builtin_template("chatml").render(turns)) > 500_000


@pytest.mark.parametrize("change", ["[:5]", ".split('e')[0]", ".split('e')[-1]"])
def test_a_template_that_cuts_the_answer_cannot_be_trained_on(change):
    source = "{% for m in messages %}{{ m.role ~ m.content" + change + " }}{% endfor %}"
    turns = [*TURNS[:2], {"role": "assistant", "content": "one two"}]
    with pytest.raises(UnmarkableError, match=r"--chat-template NAME\.training"):
        ChatTemplate(source, "cutting", TOKENS).render_marked(turns)


def test_one_generation_block_for_each_turn():
    source = "{% generation %}{{ messages[2].content }}{% endgeneration %}"
    twice = [*TURNS, *TURNS[1:]]
    assert len(ChatTemplate(source, "t", TOKENS).render_marked(TURNS).spans) == 1
    with pytest.raises(UnmarkableError, match="1 generation blocks for 2 assistant"):
        ChatTemplate(source, "t", TOKENS).render_marked(twice)


def test_private_characters_of_the_user_are_refused():
    turns = [*TURNS[:1], {"role": "user", "content": "\U00100000"}]
    with pytest.raises(UnmarkableError, match="plane 16"):
        builtin_template("chatml").render_marked(turns)


@pytest.mark.parametrize("answer", ["A", " A", "A \n", "\n\nA\n\n"])
@pytest.mark.parametrize("name", ["chatml", "llama3"])
def test_white_space_around_an_answer(name, answer):
    turns = [*TURNS[:2], {"role": "assistant", "content": answer}]
    rendered = builtin_template(name, TOKENS).render_marked(turns)
    (span,) = rendered.spans
    kept = answer if name == "chatml" else answer.strip()
    assert rendered.text[span.start : span.end] == kept


def test_contents_may_be_lists_of_parts():
    source = (
        "{% for m in messages %}{{ m.role }}|"
        "{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"
    )
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    turn = {"role": "assistant", "content": parts}
    rendered = ChatTemplate(source, "t").render_marked([turn])
    (span,) = rendered.spans
    assert rendered.text[span.start : span.end] == "one two"


CALL = {"function": {"name": "now", "arguments": {}}}


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "assistant", "content": "A", "reasoning_content": "hm"},
    ],
)
def test_what_stands_outside_of_the_content_needs_generation_blocks(turn):
    turns = [*TURNS[:2], turn]
    with pytest.raises(UnmarkableError, match="generation blocks"):
        builtin_template("qwen").render_marked(turns)
    (span,) = builtin_template("qwen.training").render_marked(turns).spans
    assert span.message == 2
    # Thoughts that the template leaves out do no harm.
    later = [*turns, *TURNS[1:]]
    if "reasoning_content" in turn:
        assert len(builtin_template("qwen").render_marked(later).spans) == 2
