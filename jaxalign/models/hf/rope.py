"""Rotary embeddings as `config.json` spells them, in the old and the new way."""

import math

from jaxalign.models.config import Rope
from jaxalign.models.hf.fields import Fields

_SCALINGS = {x: x for x in ("default", "linear", "llama3", "yarn")}
_KNOWN = {
    "rope_type", "type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor",
    "original_max_position_embeddings", "beta_fast", "beta_slow", "mscale",
    "mscale_all_dim", "attention_factor", "truncate", "partial_rotary_factor",
    "finetuned",
}  # fmt: skip


def rope_section(fields: Fields) -> Fields:
    """`rope_parameters` (new), or `rope_scaling` (old); empty if there is neither."""
    new, old = fields.section("rope_parameters"), fields.section("rope_scaling")
    if new.data and old.data and new.data != old.data:
        raise fields.wrong("rope_scaling", "`rope_parameters` says otherwise")
    return new if new.data else old


def layer_type_section(fields: Fields, kind: str, flat: dict | None = None) -> Fields:
    """The rope parameters of one kind of layer.

    Args:
      fields: The keys.
      kind: `full_attention` or `sliding_attention`.
      flat: What to return where the parameters are not nested by kind; default: them.
    """
    section = rope_section(fields)
    if not {"full_attention", "sliding_attention"} & set(section.data):
        return section if flat is None else Fields(flat, section.where)
    return section.section(kind)


def theta(fields: Fields, section: Fields, default: float, *old_keys: str) -> float:
    """The base of the frequencies, from the section or from the top level."""
    inner, outer = section.get("rope_theta"), fields.get(*old_keys)
    if inner is not None and outer is not None and inner != outer:
        raise fields.wrong(old_keys[0], f"{section.where} says {inner}")
    if inner is not None:
        return section.number("rope_theta")
    return fields.number(*old_keys, default=default)


def rotary_dim(fields: Fields, section: Fields, head_dim: int, default: float) -> int:
    """How many channels of a head are rotated."""
    keys = ("partial_rotary_factor", "rotary_pct")
    inner, outer = section.get(keys[0]), fields.get(*keys)
    if inner is not None and outer is not None and inner != outer:
        raise section.wrong(keys[0], f"the top level says {outer}")
    share = section.number(keys[0], default=fields.number(*keys, default=default))
    dim = int(head_dim * share)
    if not 0 < dim <= head_dim or dim % 2:
        raise fields.wrong(keys[0], f"{dim} of {head_dim} channels cannot be rotated")
    return dim


def rope(fields: Fields, section: Fields, base: float) -> Rope:
    """The rotation that `section` describes, with `base` as its theta."""
    unknown = sorted(set(section.data) - _KNOWN)
    kind = section.choice("rope_type", "type", among=_SCALINGS, default="default")
    if unknown:
        raise section.wrong(unknown[0], f"rope type `{kind}` has no such key")
    if kind == "default":
        return Rope(theta=base)
    if kind == "linear":
        return Rope(theta=base, scaling="linear", factor=section.number("factor"))
    if base <= 1:
        raise section.wrong("rope_theta", f"`{kind}` needs one above 1")
    key = "original_max_position_embeddings"
    longest = fields.get("max_position_embeddings")
    original = int(fields.number(key, default=section.number(key, default=longest)))
    if kind == "llama3":
        return _llama3(section, base, original)
    factor = section.number("factor", default=longest / original if longest else None)
    return Rope(
        theta=base,
        scaling="yarn",
        factor=factor,
        original_positions=original,
        beta_fast=section.number("beta_fast", default=32.0),
        beta_slow=section.number("beta_slow", default=1.0),
        truncate=section.flag("truncate", True),
        attention_factor=_attention_factor(section, factor),
    )


def _llama3(section: Fields, base: float, original: int) -> Rope:
    low, high = section.number("low_freq_factor"), section.number("high_freq_factor")
    if not low < high:
        raise section.wrong("high_freq_factor", f"it must be above {low:g}, the lower")
    return Rope(
        theta=base,
        scaling="llama3",
        factor=section.number("factor"),
        original_positions=original,
        low_freq_factor=low,
        high_freq_factor=high,
    )


def _attention_factor(section: Fields, factor: float) -> float:
    """What YaRN multiplies cosines and sines by: given, or from the factor."""

    def temperature(scale: float) -> float:
        # √(1/t) = 0.1 ln s + 1 of YaRN, https://arxiv.org/abs/2309.00071.
        return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0

    if section.get("attention_factor") is not None:
        return section.number("attention_factor")
    scale, everywhere = section.get("mscale"), section.get("mscale_all_dim")
    if scale and everywhere:
        scale, everywhere = section.number("mscale"), section.number("mscale_all_dim")
        return temperature(scale) / temperature(everywhere)
    return temperature(1.0)
