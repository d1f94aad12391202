"""The chat template and the stop tokens of a run, for its folder and its export."""

from pathlib import Path

from jaxalign.data.text.template_files import builtin_template
from jaxalign.data.text.templates import BUILTIN
from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.models import ChatTexts
from jaxalign.training.folder.own_files import write_text

_FILE = "chat_template.jinja"


def chat_texts(
    tokenizer: Tokenizer, vocab_size: int, given: str | Path | None
) -> ChatTexts:
    """What an export needs so that a server goes on as in training.

    Args:
      tokenizer: Of the run.
      vocab_size: Of the model; a stop token from there on is none of its own.
      given: The template that the run was given, or None if it used the model's own.
    """
    # A stop token for which the model has no row can never be sampled.
    stops = [i for i in tokenizer.stop_ids if i < vocab_size]
    template = None
    # Without one of the user's the export takes over the files of the model.
    if given is not None and tokenizer.template is not None:
        template = tokenizer.template.source
        # A training twin renders the same text by blocks that few servers know.
        plain = str(given).removesuffix(".training")
        if plain in BUILTIN:
            template = builtin_template(plain).source
    return ChatTexts(template, stops)


def keep_template(folder: Path, texts: ChatTexts) -> None:
    """Writes the template of a run into its folder, for an export later on."""
    if texts.template is not None:
        write_text(folder / _FILE, texts.template)


def kept_template(folder: Path) -> Path | None:
    """The file that `keep_template` wrote, if the run was given a template."""
    file = folder / _FILE
    return file if file.is_file() else None
