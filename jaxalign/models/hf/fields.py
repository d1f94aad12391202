"""Checked access to the keys of a `config.json`."""

import dataclasses
from typing import Any

from jaxalign.errors import UserError

# Within the range of float32, with room for products.
_SMALLEST, _LARGEST = 1e-30, 1e30
_SHOWN = 80


@dataclasses.dataclass(frozen=True)
class Fields:
    """The keys of one JSON object; every error names the file and the key."""

    data: dict[str, Any]
    """The object."""
    where: str
    """What to call it in errors: path, and key of a nested object."""

    def get(self, *keys: str, default: Any = None) -> Any:
        """The value of the first of `keys` that is there and not null."""
        for key in keys:
            if self.data.get(key) is not None:
                return self.data[key]
        return default

    def wrong(self, key: str, wanted: str) -> UserError:
        """An error that shows the value of `key` and says what it should be."""
        shown = repr(self.data.get(key))
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
        return UserError(
            f"{self.where}: `{key}` is {shown}; {wanted}. "
            "Nothing is guessed: mend the file, or take a supported model."
        )

    def size(
        self, *keys: str, most: int, default: int | None = None, least: int = 1
    ) -> int:
        """A whole number from `least` to `most`."""
        value = self.get(*keys, default=default)
        key = self._named(keys)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.wrong(key, f"a whole number from {least} is wanted")
        if value > most:
            raise self.wrong(key, f"more than the {most} that are allowed")
        return value

    def number(self, *keys: str, default: float | None = None) -> float:
        """A number above 0 that float32 can hold with room to spare."""
        value = self.get(*keys, default=default)
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not _SMALLEST <= value <= _LARGEST:
            wanted = f"a number from {_SMALLEST:g} to {_LARGEST:g} is wanted"
            raise self.wrong(self._named(keys), wanted)
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false; absent or null: the default."""
        value = self.get(key, default=default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false is wanted")
        return value

    def choice(self, *keys: str, among: dict[str, Any], default: str) -> Any:
        """What `among` holds for the value."""
        value = self.get(*keys, default=default)
        if not isinstance(value, str) or value not in among:
            known = ", ".join(f"`{x}`" for x in among)
            raise self.wrong(self._named(keys), f"known are {known}")
        return among[value]

    def section(self, *keys: str) -> "Fields":
        """The nested object of the first of `keys` that is there; empty if none is."""
        key = self._named(keys)
        value = self.get(key, default={})
        if not isinstance(value, dict):
            raise self.wrong(key, "an object is wanted")
        return Fields(value, f"{self.where}: {key}")

    def items(self, key: str, *, among: tuple[Any, ...], count: int) -> list | None:
        """A list of `count` values out of `among`; None if it is absent or null."""
        value = self.get(key)
        if value is None:
            return None
        known = isinstance(value, list) and all(x in among for x in value)
        if not known or len(value) != count:
            raise self.wrong(key, f"wanted are {count} of {', '.join(map(str, among))}")
        return value

    def refuse(self, key: str, *, unless: tuple[Any, ...]) -> None:
        """An error if `key` has a value that would change the mathematics."""
        value = self.data.get(key)
        if value is not None and value not in unless:
            raise self.wrong(key, "this is not supported")

    def _named(self, keys: tuple[str, ...]) -> str:
        """The key that is there, or the first, by which an error calls the value."""
        there = (key for key in keys if self.data.get(key) is not None)
        return next(there, keys[0])
