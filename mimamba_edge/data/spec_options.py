"""What follows the question mark of a source or a data set: ``KEY=VALUE&KEY=VALUE``."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from mimamba_edge.console import printable
from mimamba_edge.errors import ConfigError
from mimamba_edge.files import cache_folder
from mimamba_edge.naming import close_names

__all__ = ["SpecOptions", "read_pairs", "take_cache", "take_option"]


def read_pairs(text: str, of: str = "the source") -> dict[str, str]:
    """Return the pairs of ``KEY=VALUE&KEY=VALUE``.

    ``%XX`` stands for a character, as in an address; a plus stays a plus, for it stands in paths.

    Args:
        text: The pairs.
        of: Whose they are, for messages.

    Raises:
        ConfigError: A part is no pair, or a key stands twice.
    """
    pairs: dict[str, str] = {}
    for part in text.split("&") if text else ():
        key, equals, value = part.partition("=")
        if not equals or not key or unquote(key) in pairs:
            raise ConfigError(
                f"the parameters of {of} cannot be read",
                got=text,
                expected="KEY=VALUE&KEY=VALUE, each key once",
            )
        pairs[unquote(key)] = unquote(value)
    return pairs


def take_option(rest: str, name: str) -> tuple[str, str | None]:
    """Take an option that any data set has.

    Returns:
        The text without it, and its value with ``%XX`` as it stands; ``None`` where it is not given once.
    """
    path, mark, query = (rest, "", "") if os.path.lexists(rest) else rest.partition("?")
    pairs = query.split("&") if query else []
    named = [pair for pair in pairs if pair.startswith(f"{name}=")]
    if len(named) != 1:
        return rest, None
    others = "&".join(pair for pair in pairs if pair not in named)
    return path + (mark + others if others else ""), named[0].removeprefix(f"{name}=")


def take_cache(rest: str) -> tuple[str, Path | None]:
    """Take the option ``cache`` of any data set: a folder, or ``none``.

    Returns:
        The text without it, and the folder of caches: the user's where none is named.
    """
    rest, value = take_option(rest, "cache")
    if value is not None:
        return rest, None if value == "none" else Path(unquote(value))
    try:
        return rest, cache_folder() / "windows"
    except ConfigError:  # a user without a home
        return rest, None


class SpecOptions:
    """Path and options of a data set: ``PATH?KEY=VALUE&…``.

    Each option is taken once; :meth:`end` refuses what nothing has taken.

    Args:
        rest: What follows ``NAME:``. A path that is there may hold a question mark.
        of: Name of the data set, for messages.

    Raises:
        ConfigError: There is no path, or the pairs cannot be read.
    """

    def __init__(self, rest: str, of: str) -> None:
        path, _, query = (rest, "", "") if os.path.lexists(rest) else rest.partition("?")
        if not path:
            raise ConfigError("the data set needs a path", got=f"{of}:", expected=f"{of}:PATH")
        self.path, self._of = Path(path), of
        self._pairs = read_pairs(query, f"the data set {of}")
        self._known: list[str] = []

    def text(self, name: str) -> str | None:
        """Take a text; ``None`` where it is not given."""
        self._known.append(name)
        return self._pairs.pop(name, None)

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """Take one of several words, by default the first.

        Raises:
            ConfigError: It is another one.
        """
        value = self.text(name)
        if value is None:
            return allowed[0]
        if value not in allowed:
            raise ConfigError(
                f"the option {name} of {self._of} does not know this",
                got=printable(value),
                expected=" or ".join(allowed),
            )
        return value

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        """Take a number.

        Raises:
            ConfigError: It is none, or lies outside.
        """
        given = self.text(name)
        if given is None:
            return default
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ConfigError(
                f"the option {name} of {self._of} is not such a number",
                got=printable(given),
                expected=f"from {least:g} to {most:g}",
            )
        return value

    def end(self) -> None:
        """Check that no option is left.

        Raises:
            ConfigError: One is.
        """
        for name in self._pairs:
            raise ConfigError(
                f"the data set {self._of} has no option {printable(name)}",
                expected=", ".join(self._known) or "none",
                do=close_names(name, self._known) or None,
            )
