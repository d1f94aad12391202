"""What a row says reaches the rendered text, or the row is refused, or it is told."""

import pytest

from jaxalign.data.records.record import (
    Conversation,
    Message,
    Preference,
    PromptCompletion,
    PromptOnly,
)
from jaxalign.data.text.dialect import for_template, to_json
from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.encoded import NoTargetError
from jaxalign.data.text.template_files import builtin_template
from jaxalign.data.text.templates import BUILTIN, ChatTemplate
from jaxalign.errors import RowError, UserError
from tests.data.chat_fixtures import chatml, template_text

CALL = {"type": "function", "function": {"name": "look", "arguments": {"at": "map"}}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}
USER = Message("user", "Where?")
CALLS = Message("assistant", "", {"tool_calls": [CALL]})
RESULT, SAID = Message("tool", "found"), Message("assistant", "Here.")
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
# A template that knows neither tools nor calls, and one that writes the first call.
DEAF = "{% for m in messages %}{{ m.role ~ ': ' ~ m.content ~ eos_token }}{% endfor %}"
FIRST_CALL = DEAF.replace(
    "{{ m.role", "{{ m.tool_calls[0].function.name if m.tool_calls }}{{ m.role"
)


def as_dicts(*messages):
    return [m.as_dict() for m in messages]


def lost(source, messages, **options):
    template = ChatTemplate(source, "test", TOKENS)
    return template.render_marked(as_dicts(*messages), **options).lost


@pytest.mark.parametrize("source", [DEAF, FIRST_CALL])
def test_tools_that_the_template_does_not_read(source):
    found = lost(source, [USER, SAID], tools=[TOOL])
    assert found == ("the tool 'look'",)
    found = lost(source, [USER], tools=[TOOL, TOOL], add_generation_prompt=True)
    assert len(found) == 2


def test_calls_that_the_template_does_not_read():
    called = "the call of 'look' in message 1 (assistant)"
    assert lost(DEAF, [USER, CALLS, RESULT, SAID]) == (
        called,
        f"the arguments of {called}",
    )
    # The name is there, and the arguments are not.
    found = lost(FIRST_CALL, [USER, CALLS, RESULT, SAID])
    assert found == (f"the arguments of {called}",)


def test_each_call_and_each_tool_is_looked_for():
    source = (
        "{{ tools[0] | tojson }}{% for m in messages %}{{ m.content }}"
        "{{ m.tool_calls[0] | tojson if m.tool_calls }}{% endfor %}"
    )
    other = {"type": "function", "function": {"name": "ask", "arguments": {"n": 2}}}
    twice = Message("assistant", "", {"tool_calls": [CALL, other]})
    found = lost(source, [USER, twice, RESULT, SAID], tools=[TOOL, {"name": "ask"}])
    called = "the call of 'ask' in message 1 (assistant)"
    assert found == (called, f"the arguments of {called}", "the tool 'ask'")


def test_names_that_the_template_asks_about_are_looked_for_otherwise():
    """Marks would change what it writes: the row is changed in place of them."""
    source = (
        "{% for t in tools %}{% if t.name == 'look' %}[looks]{% endif %}{% endfor %}"
        "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
        "{{ '[looks]' if c.function.name == 'look' else '[?]' }}"
        "{% for k in c.function.arguments %}{{ k }}{% endfor %}"
        "{% endfor %}{% endfor %}"
    )
    odd = {"name": "other"}
    assert lost(source, [USER, CALLS, RESULT, SAID], tools=[{"name": "look"}]) == (
        "the arguments of the call of 'look' in message 1 (assistant)",
    )
    assert "the tool 'other'" in lost(source, [USER, SAID], tools=[odd])


@pytest.mark.parametrize("role", ["user", "tool"])
def test_contents_that_the_template_passes_over(role):
    source = DEAF.replace("{{ m.role", "{% if m.role != '" + role + "' %}{{ m.role")
    source = source.replace("eos_token }}", "eos_token }}{% endif %}")
    talk = [Message("system", "Be brief."), USER, CALLS, RESULT, SAID]
    number = [m.role for m in talk].index(role)
    assert f"the content of message {number} ({role})" in lost(source, talk)


def test_system_messages_that_are_left_out_are_told(tmp_path):
    """A widely used template writes them only where the last message is a user's."""
    source = (
        "{% for m in messages %}{% if m.role == 'user' %}[INST]"
        "{{ messages[0].content ~ '/' if loop.last and messages[0].role == 'system' }}"
        "{{ m.content }}[/INST]{% elif m.role == 'assistant' %}{{ m.content }}"
        "{{ eos_token }}{% endif %}{% endfor %}"
    )
    encoder = Encoder(chatml(tmp_path, eos="</s>", template=source))
    talk = (Message("system", "Be brief."), USER, SAID)
    encoder(Conversation(talk))
    assert dict(encoder.notes) == {
        "system messages that the chat template leaves out": 1
    }
    # As a prompt it is there, so prompt and whole differ, which is counted too.
    example = encoder(PromptCompletion(talk[:2], talk[2:]))
    assert example.prompt_differs


@pytest.mark.parametrize("twin", ["", ".training"])
@pytest.mark.parametrize("name", sorted(set(BUILTIN) - {"qwen", "mistral"}))
def test_the_builtin_templates_that_know_no_calls(name, twin, tmp_path):
    template = builtin_template(name + twin, TOKENS)
    found = template.render_marked(as_dicts(USER, CALLS, SAID)).lost
    assert found[0] == "the call of 'look' in message 1 (assistant)"


@pytest.mark.parametrize("twin", ["", ".training"])
@pytest.mark.parametrize("name", ["qwen", "mistral"])
def test_the_builtin_templates_that_know_calls(name, twin):
    template = builtin_template(name + twin, TOKENS)
    talk = as_dicts(USER, CALLS, RESULT, SAID)
    rendered = template.render_marked(talk, tools=[TOOL], stops=["</s>", "<|im_end|>"])
    assert rendered.lost == ()
    assert '"arguments": {"at": "map"}' in rendered.text
    text = {**CALL, "function": {"name": "look", "arguments": '{"at": "map"}'}}
    as_text = Message("assistant", "", {"tool_calls": [text]})
    talk = as_dicts(USER, as_text, RESULT, SAID)
    assert template.render(talk, tools=[TOOL]) == rendered.text


def test_rows_are_refused_by_name(tmp_path):
    tokenizer = chatml(tmp_path)
    encoder = Encoder(tokenizer)
    for record in (
        Conversation((USER, CALLS, RESULT, SAID), where="a:1"),
        PromptCompletion((USER,), (CALLS,), where="a:1"),
        Preference((USER,), (CALLS,), (SAID,), where="a:1"),
        Conversation((USER, CALLS, RESULT, SAID), where="a:1"),
    ):
        with pytest.raises(RowError, match=r"^a:1: The chat template .*call of 'look'"):
            encoder(record)
        with pytest.raises(RowError, match="call of 'look'"):
            Encoder(tokenizer, loss_on="all")(record)
    asked = PromptOnly((USER, CALLS, RESULT), where="a:1")
    with pytest.raises(RowError, match="^a:1: .*call of 'look'"):
        encoder.prompt(asked)
    plain = DEAF.replace("{{ m.role", "{{ '' if tools }}{{ m.role")
    deaf = Encoder(chatml(tmp_path / "deaf", template=plain))
    with pytest.raises(RowError, match="leaves out the tool 'look'"):
        deaf.prompt(PromptOnly((USER,), tools=(TOOL,), where="a:1"))


def test_a_completion_of_nothing_but_a_stop_token_is_refused(tmp_path):
    tokenizer = chatml(tmp_path)
    for completion in ("<|im_end|>", " \n", " <|im_end|>\n"):
        with pytest.raises(NoTargetError, match="beside its stop token"):
            Encoder(tokenizer)(PromptCompletion("a", completion, where="a:1"))
    source = template_text("chatml.training.jinja").replace(
        "message['content'] + '<|im_end|>'", "'<|im_end|>'", 1
    )
    silent = chatml(tmp_path / "silent", template=source)
    with pytest.raises(RowError, match="content of message 1"):
        Encoder(silent)(Conversation((USER, SAID), where="a:1"))


def test_thoughts_that_are_left_out_are_told_and_not_refused(tmp_path):
    encoder = Encoder(chatml(tmp_path))
    thinks = Message("assistant", "Here.", {"reasoning_content": "Hm."})
    encoder(Conversation((USER, thinks)))
    encoder(Conversation((USER, SAID)))
    ((note, count),) = encoder.notes.items()
    assert "thoughts" in note
    assert count == 1
    encoder.prompt(PromptOnly((USER, thinks, USER)))
    assert encoder.notes[note] == 2


def test_text_beside_a_call_that_is_left_out_is_told(tmp_path):
    template = template_text("mistral.jinja")
    encoder = Encoder(chatml(tmp_path, eos="</s>", template=template))
    says = Message("assistant", "Let me look.", {"tool_calls": [CALL]})
    encoder(Conversation((USER, says, RESULT, SAID), tools=(TOOL,)))
    ((note, count),) = encoder.notes.items()
    assert "beside a call" in note
    assert count == 1


@pytest.mark.parametrize("given", ["reasoning_content", "thinking", "reasoning"])
@pytest.mark.parametrize("read", ["reasoning_content", "thinking", "reasoning"])
def test_a_thought_under_any_name_reaches_a_template_that_reads_another(given, read):
    source = "{% for m in messages %}{{ m." + read + " }}|{{ m.content }}{% endfor %}"
    thinks = {"role": "assistant", "content": "4", given: "2 + 2"}
    assert ChatTemplate(source, "t").render([thinks]) == "2 + 2|4"


@pytest.mark.parametrize("form", ["tojson", "tojson(ensure_ascii=true)", "string"])
def test_calls_may_be_written_in_any_form(form):
    source = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
        "{{ m.tool_calls | FORM if m.tool_calls }}</s>{% endfor %}"
        "{{ '[assistant]' if add_generation_prompt }}"
    )
    template = ChatTemplate(source.replace("FORM", form), "t")
    talk = as_dicts(USER, CALLS, RESULT, SAID)
    rendered = template.render_marked(talk, stops=["</s>"])
    call, last = (rendered.text[x.start : x.end] for x in rendered.spans)
    assert rendered.lost == ()
    assert (call[0], call[-5:]) == ("[", "]</s>")
    assert last == "Here.</s>"
    assert "\\U" not in rendered.text


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"tools": [TOOL]}, "hold `tools`. Give it by a column"),
        ({"messages": []}, "hold `messages`"),
        ({"chat_template": "{{ 1 }}"}, "Give it by --chat-template"),
        ({"add_generation_prompt": True}, "ask for a text that goes on"),
    ],
)
def test_arguments_of_a_template_that_have_another_place(given, reason, tmp_path):
    record = Conversation((USER, SAID), template_kwargs=given, where="a:1")
    with pytest.raises(RowError, match=f"^a:1: The arguments of the chat .*{reason}"):
        Encoder(chatml(tmp_path))(record)


def test_arguments_of_a_template_may_have_any_name(tmp_path):
    names = {"stops": "a", "prompt": "b", "spans": "c", "options": "d", "stop": None}
    source = template_text("chatml.jinja").replace(
        "{%- for message", "{{- stops ~ prompt ~ spans ~ options -}}{%- for message", 1
    )
    encoder = Encoder(chatml(tmp_path, template=source), template_kwargs=names)
    given = {"add_generation_prompt": False, "tools": None}
    (x,) = encoder(Conversation((USER, SAID), template_kwargs=given)).sequences
    assert encoder.tokenizer.decode(x.ids).startswith("abcd<|im_start|>user")
    ids = encoder.prompt(PromptOnly((USER,)))
    assert encoder.tokenizer.decode(ids).startswith("abcd<|im_start|>user")


def test_a_thought_under_two_names():
    both = {"role": "assistant", "content": "", "reasoning": "b", "thinking": "a"}
    (shaped,) = for_template([both], "reasoning_content")
    assert shaped["reasoning_content"] == shaped["thinking"] == "a"


PARTS = (
    "{% for m in messages %}{{ m.role }}:{% for x in m.content %}"
    "{% if x.type == 'text' %}{{ x.text }}{% endif %}{% endfor %};{% endfor %}"
)


def test_contents_are_given_as_parts_to_templates_that_want_them(tmp_path):
    template = ChatTemplate(PARTS, "t")
    assert template.wants_parts
    assert template.render(as_dicts(USER, SAID)) == "user:Where?;assistant:Here.;"
    first = PARTS.replace("x in m.content", "x in [m.content[0]]")
    assert ChatTemplate(first, "t").wants_parts
    for known in (DEAF, template_text("qwen.jinja"), "{{ messages | tojson }}"):
        assert not ChatTemplate(known, "t", TOKENS).wants_parts
    encoder = Encoder(chatml(tmp_path, template=PARTS))
    (x,) = encoder(Conversation((USER, SAID))).sequences
    assert x.trained.any()
    assert encoder.tokenizer.decode(x.ids).startswith("user:Where?;assistant:Here.;")


def test_arguments_are_given_as_text_to_templates_that_add_them_to_text():
    source = (
        "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
        "{{ '<call>' + c.function.name + c.function.arguments }}{% endfor %}"
        "{% endfor %}"
    )
    written = ChatTemplate(source, "t").render(as_dicts(USER, CALLS))
    assert written == 'Where?<call>look{"at": "map"}'


@pytest.mark.parametrize("arguments", ["{", '"{}"', "[1]"])
def test_arguments_that_are_no_object(arguments):
    call = {"name": "look", "arguments": arguments}
    talk = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    with pytest.raises(UserError, match="`arguments` of a tool call"):
        ChatTemplate("{{ messages }}", "t").render(talk)


def test_arguments_that_are_empty_text_are_none():
    call = {"name": "look", "arguments": " "}
    (turn,) = for_template([{"role": "assistant", "tool_calls": [call]}], "")
    assert turn["tool_calls"] == [{"name": "look", "arguments": {}}]


def test_only_plain_data_enters():
    class Text(str):
        __slots__ = ()

    copy = to_json({"a": (Text("b"), 1, True, None, 2.5)})
    assert copy == {"a": ["b", 1, True, None, 2.5]}
    assert type(copy["a"][0]) is str
    with pytest.raises(UserError, match="type object"):
        to_json([object()])
