"""Checked access to the keys of a `config.json`."""

import dataclasses
from typing import Any

from jaxalign.errors import UserError


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
        return UserError(
            f"{self.where}: `{key}` is {self.data.get(key)!r}; {wanted}. "
            "Nothing is guessed: mend the file, or take a supported model."
        )

    def size(self, *keys: str, most: int, default: int | None = None) -> int:
        """A whole number from 1 to `most`."""
        value = self.get(*keys, default=default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.wrong(keys[0], "a whole number above 0 is wanted")
        if value > most:
            raise self.wrong(keys[0], f"more than the {most} that are allowed")
        return value

    def number(self, *keys: str, default: float | None = None) -> float:
        """A finite number above 0."""
        value = self.get(*keys, default=default)
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not 0 < value < float("inf"):
            raise self.wrong(keys[0], "a finite number above 0 is wanted")
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
            raise self.wrong(keys[0], f"known are {known}")
        return among[value]

    def refuse(self, key: str, *, unless: tuple[Any, ...]) -> None:
        """An error if `key` has a value that would change the mathematics."""
        value = self.data.get(key)
        if value is not None and value not in unless:
            raise self.wrong(key, "this is not supported")
