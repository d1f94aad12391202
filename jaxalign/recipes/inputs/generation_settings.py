"""What `generation_config.json` asks of a sampler, and which of it is obeyed."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxalign.errors import UserError
from jaxalign.json_file import read_json

FILE = "generation_config.json"

_OFF: Mapping[str, tuple[Any, ...]] = {
    # Obeyed by `jaxalign generate`; the values at which they do nothing.
    "temperature": (1.0,),
    "top_k": (0, -1),
    "top_p": (1.0,),
    "min_p": (0.0,),
    "repetition_penalty": (1.0,),
    "min_new_tokens": (0,),
    "suppress_tokens": ([],),
    "bad_words_ids": ([],),
    "stop_strings": ([],),
    # Known and not obeyed.
    "max_length": (20,),  # transformers writes its default
    "min_length": (0,),
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "num_return_sequences": (1,),
    "diversity_penalty": (0.0,),
    "typical_p": (1.0,),
    "epsilon_cutoff": (0.0,),
    "eta_cutoff": (0.0,),
    "encoder_repetition_penalty": (1.0,),
    "presence_penalty": (0.0,),
    "frequency_penalty": (0.0,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "guidance_scale": (1.0,),
    "begin_suppress_tokens": ([],),
    "token_healing": (False,),
}
_NO_MATTER = {
    # Read elsewhere, or about other things than which token comes next.
    "do_sample", "max_new_tokens", "eos_token_id", "bos_token_id", "pad_token_id",
    "decoder_start_token_id", "transformers_version", "trust_remote_code",
    "use_cache", "cache_implementation", "cache_config", "return_legacy_cache",
    "output_attentions", "output_hidden_states", "output_scores", "output_logits",
    "return_dict_in_generate", "compile_config", "disable_compile", "low_memory",
    "prefill_chunk_size", "is_assistant", "num_assistant_tokens",
    "num_assistant_tokens_schedule", "assistant_confidence_threshold",
    "assistant_early_exit", "assistant_lookbehind", "target_lookbehind",
    "prompt_lookup_num_tokens", "max_matching_ngram_size", "use_mtp",
    # Of beam search, which `num_beams` tells; and what leaves the choice as it is.
    "early_stopping", "length_penalty", "renormalize_logits", "remove_invalid_values",
}  # fmt: skip


class SamplingSettings(NamedTuple):
    """How tokens are drawn; see `jaxalign.rollout.generate`."""

    temperature: float
    top_k: int | None
    top_p: float
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 128
    min_new_tokens: int = 0
    never_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()

    def __str__(self) -> str:
        """What is not switched off, as people read it."""
        off = SamplingSettings(0.0, None, 1.0, max_new_tokens=0)._asdict()
        drawn = ("temperature", "top_k", "top_p", "min_p")
        said = [
            f"{k} {v}"
            for k, v in self._asdict().items()
            if v != off[k] and (self.temperature > 0 or k not in drawn)
        ]
        return ", ".join(said if self.temperature > 0 else ["greedy", *said])


def read_settings(folder: Path) -> dict[str, Any]:
    """The keys of a checkpoint's `generation_config.json`; empty without the file."""
    file = folder / FILE
    return read_json(file) if file.exists() else {}


def in_force(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that change which token comes next, besides the stop tokens."""
    sampled = settings.get("do_sample") is True
    only_sampled = ("temperature", "top_k", "top_p", "min_p", "typical_p")
    return {
        key: value
        for key, value in settings.items()
        if value is not None
        and key not in _NO_MATTER
        # Notes of transformers, about where the file is from.
        and not key.startswith("_")
        and not any(_same(value, off) for off in _OFF.get(key, ()))
        and (sampled or key not in only_sampled)
    }


def not_obeyed(settings: Mapping[str, Any], obeyed: Iterable[str]) -> str:
    """Those in force that nobody heeds, with their values; empty if there are none.

    >>> not_obeyed({"num_beams": 4, "top_k": 0, "_from": 1, "words": "x"}, ())
    'num_beams 4, words x'
    """
    left = {k: v for k, v in in_force(settings).items() if k not in obeyed}
    # Cut, because a list of token ids may be long.
    return ", ".join(f"{k} {str(v)[:60]}" for k, v in left.items())


def checkpoint_sampling(
    settings: Mapping[str, Any], where: Path, *, sampled: bool, max_new_tokens: int
) -> SamplingSettings:
    """What the settings of a checkpoint ask for.

    Args:
      settings: What `read_settings` returned.
      where: The file, for errors.
      sampled: Whether tokens are drawn at all: then temperature, top-k, top-p and min-p
        count.
      max_new_tokens: If the checkpoint says nothing.

    Raises:
      UserError: A value is none that its key can have.
    """
    read = _Reader(settings, where)
    temperature = read.number("temperature", 1.0, least=0.0) if sampled else 0.0
    top_k = read.whole("top_k", 0, least=-1) if sampled else 0
    return SamplingSettings(
        temperature=temperature,
        top_k=top_k if top_k > 0 else None,
        top_p=read.share("top_p", 1.0, above=0.0) if sampled else 1.0,
        min_p=read.share("min_p", 0.0) if sampled else 0.0,
        # Logits are divided by it, so it is never 0.
        repetition_penalty=read.number("repetition_penalty", 1.0, least=1e-6),
        max_new_tokens=read.whole("max_new_tokens", max_new_tokens, least=1),
        min_new_tokens=read.whole("min_new_tokens", 0, least=0),
        never_ids=read.ids("suppress_tokens") + read.single_words("bad_words_ids"),
        stop=read.texts("stop_strings"),
    )


def tell_unused(folder: Path, temperature: float, why: str, console: Any) -> None:
    """Says which settings of a checkpoint do not count where flags alone do.

    Args:
      folder: Of the model.
      temperature: At which completions are drawn; one equal to it needs no word.
      why: Where completions come from, as the beginning of a sentence.
      console: Where people read.
    """
    settings = read_settings(folder)
    if settings.get("temperature") == temperature:
        settings.pop("temperature")
    left = not_obeyed(settings, ())
    if left:
        console.print(f"{why}: {left} of {FILE} do not count")


def long_bad_words(settings: Mapping[str, Any]) -> bool:
    """Whether some of `bad_words_ids` are of more than one token: not obeyed."""
    words = settings.get("bad_words_ids") or []
    return any(len(word) != 1 for word in words)


class _Reader(NamedTuple):
    """Checked access to the keys; every error names the file, the key and the value."""

    data: Mapping[str, Any]
    where: Path

    def _wrong(self, key: str, wanted: str) -> UserError:
        return UserError(
            f"{self.where}: `{key}` is {repr(self.data.get(key))[:80]}; {wanted} is "
            "wanted. Correct the file, or remove the key."
        )

    def _get(self, key: str, default: Any) -> Any:
        value = self.data.get(key)
        return default if value is None else value

    def number(self, key: str, default: float, *, least: float) -> float:
        value = self._get(key, default)
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        # 1e30 is far inside of the range of float32.
        if not plain or not least <= value <= 1e30:
            raise self._wrong(key, f"a number from {least:g}")
        return float(value)

    def share(self, key: str, default: float, *, above: float | None = None) -> float:
        value = self._get(key, default)
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not 0 <= value <= 1 or value == above:
            low = "0" if above is None else f"above {above:g}"
            raise self._wrong(key, f"a number from {low} to 1")
        return float(value)

    def whole(self, key: str, default: int, *, least: int) -> int:
        value = self._get(key, default)
        # Some files hold whole numbers as 50.0.
        if isinstance(value, float) and math.isfinite(value) and value == int(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(key, f"a whole number from {least}")
        # int32 on the devices, with room for sums.
        if not least <= value < 1 << 30:
            raise self._wrong(key, f"a whole number from {least}")
        return value

    def ids(self, key: str) -> tuple[int, ...]:
        value = self._get(key, [])
        if not isinstance(value, list) or not all(_is_id(x) for x in value):
            raise self._wrong(key, "a list of token ids")
        return tuple(value)

    def single_words(self, key: str) -> tuple[int, ...]:
        value = self._get(key, [])
        lists = isinstance(value, list) and all(isinstance(x, list) for x in value)
        if not lists or not all(_is_id(x) for word in value for x in word):
            raise self._wrong(key, "a list of lists of token ids")
        return tuple(word[0] for word in value if len(word) == 1)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._get(key, [])
        value = [value] if isinstance(value, str) else value
        texts = isinstance(value, list) and all(isinstance(x, str) for x in value)
        if not texts or not all(value):
            raise self._wrong(key, "a text or a list of texts, none of them empty,")
        return tuple(value)


def _is_id(x: Any) -> bool:
    return isinstance(x, int) and not isinstance(x, bool) and x >= 0


def _same(value: Any, off: Any) -> bool:
    # False == 0 in Python, and `top_k: false` says something else than 0.
    return type(value) is not bool and value == off or value is off
