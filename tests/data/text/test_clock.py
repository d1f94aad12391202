"""One time for all templates of a run, and templates chosen by name."""

import datetime
import json

import pytest

from jaxalign.data.records.record import Conversation, Message, PromptOnly
from jaxalign.data.text import clock
from jaxalign.data.text.clock import fix_clock, template_time
from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.tokenizer import load_tokenizer
from jaxalign.errors import RowError, UserError
from tests.data.chat_fixtures import chatml, model_folder

READS = "{{ strftime_now('%Y-%m-%d %H:%M:%S') }}{{ messages[0].content }}"
USER = {"role": "user", "content": "!"}


@pytest.fixture(autouse=True)
def _afterwards(monkeypatch):
    monkeypatch.setattr(clock, "_fixed", [])


def test_a_template_reads_the_time_that_was_fixed(tmp_path):
    tokenizer = chatml(tmp_path, template=READS)
    assert tokenizer.template is not None
    assert tokenizer.template.reads_clock
    for time, written in (
        ("2026-01-31", "2026-01-31 00:00:00!"),
        ("2024-02-29T13:14:15.9", "2024-02-29 13:14:15!"),
    ):
        fix_clock(time)
        assert tokenizer.template.render([USER]) == written


def test_without_a_word_it_is_the_time_of_the_first_reading(monkeypatch):
    first = template_time()
    assert abs(datetime.datetime.fromisoformat(first) - datetime.datetime.now()) < (
        datetime.timedelta(seconds=60)
    )

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2040, 1, 1)

    monkeypatch.setattr(clock.datetime, "datetime", Later)
    assert template_time() == first
    assert fix_clock() == "2040-01-01T00:00:00"


def test_what_is_no_time_is_refused():
    with pytest.raises(UserError, match="--template-time 'noon' is no time"):
        fix_clock("noon")


def test_the_fingerprint_sees_the_time_where_the_template_reads_it(tmp_path):
    def fingerprint(time, template):
        fix_clock(time)
        return chatml(tmp_path, template=template).fingerprint

    days = ("2026-01-01", "2026-01-02")
    assert len({fingerprint(day, READS) for day in days}) == 2
    assert len({fingerprint(day, "{{ messages[0].content }}") for day in days}) == 1


def named(*names):
    source = "{{ '%s ' }}{%% for m in messages %%}{{ m.content }}{%% endfor %%}"
    tools = "{% for t in tools or [] %}{{ t.name }}{% endfor %}"
    return [{"name": x, "template": source % x + tools} for x in names]


def text(tokenizer, tools=None):
    prompt = PromptOnly((Message("user", "Hi"),), tools=tools)
    return tokenizer.decode(Encoder(tokenizer).prompt(prompt))


TOOLS = ({"name": "look"},)


def test_tools_choose_the_template_for_them(tmp_path):
    folder = model_folder(tmp_path, chat_template=named("default", "tool_use", "rag"))
    tokenizer = load_tokenizer(folder)
    assert text(tokenizer) == "default Hi"
    assert text(tokenizer, TOOLS) == "tool_use Hilook"
    chosen = load_tokenizer(folder, chat_template="rag")
    assert text(chosen, TOOLS) == "rag Hilook"
    assert tokenizer.fingerprint != chosen.fingerprint
    with pytest.raises(UserError, match="nor one of default, tool_use, rag"):
        load_tokenizer(folder, chat_template="other")


def test_without_a_template_for_tools_the_default_is_used(tmp_path):
    tokenizer = load_tokenizer(model_folder(tmp_path, chat_template=named("default")))
    assert text(tokenizer, TOOLS) == "default Hilook"


def test_without_a_default_rows_without_tools_are_refused(tmp_path):
    folder = model_folder(tmp_path, chat_template=named("tool_use", "rag"))
    tokenizer = load_tokenizer(folder)
    assert text(tokenizer, TOOLS) == "tool_use Hilook"
    with pytest.raises(UserError, match=r"\(rag, tool_use\) and none of them is named"):
        text(tokenizer)
    talk = (Message("user", "Hi"), Message("assistant", "Ho"))
    with pytest.raises(RowError, match="none of them is named default"):
        Encoder(tokenizer)(Conversation(talk, where="a:1"))


def test_named_templates_in_files_of_their_own(tmp_path):
    default, tool_use = (x["template"] for x in named("default", "tool_use"))
    folder = model_folder(tmp_path, template=default)
    (folder / "additional_chat_templates").mkdir()
    file = folder / "additional_chat_templates" / "tool_use.jinja"
    file.write_text(tool_use)
    tokenizer = load_tokenizer(folder)
    assert (text(tokenizer), text(tokenizer, TOOLS)) == (
        "default Hi",
        "tool_use Hilook",
    )
    before = tokenizer.fingerprint
    file.write_text(tool_use + "!")
    assert load_tokenizer(folder).fingerprint != before


def test_the_template_of_a_processor(tmp_path):
    folder = model_folder(tmp_path)
    source = named("default")[0]["template"]
    file = folder / "chat_template.json"
    file.write_text(json.dumps({"chat_template": source}))
    assert text(load_tokenizer(folder)) == "default Hi"


def test_a_template_that_is_no_text(tmp_path):
    folder = model_folder(tmp_path / "model")
    file = tmp_path / "bad.jinja"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="bad.jinja is not UTF-8 text"):
        load_tokenizer(folder, chat_template=str(file))
