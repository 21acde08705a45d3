"""What a person may call themselves; pure."""

from __future__ import annotations

import unicodedata
from typing import Final

MAX_NAME_LENGTH: Final = 30
"""Characters."""


class NameRefused(ValueError):
    """A name that cannot be taken; the text says why."""


def clean_name(text: str) -> str:
    """A name as it is shown: trimmed, single spaces, composed characters.

    Raises:
        NameRefused: empty, too long, or with characters that cannot be seen.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise NameRefused("Write a name first.")
    if len(name) > MAX_NAME_LENGTH:
        raise NameRefused(f"That is {len(name)} characters; {MAX_NAME_LENGTH} is the most.")
    # Format characters (Cf) can hide in a name or turn the direction of what follows it.
    if any(unicodedata.category(character).startswith("C") for character in name):
        raise NameRefused("A name cannot hold characters that are invisible.")
    if not any(unicodedata.category(character)[0] in "LN" for character in name):
        raise NameRefused("A name needs at least one letter or digit.")
    return name


def name_key(name: str) -> str:
    """The same for two names that a person would take for one."""
    return unicodedata.normalize("NFKC", name).casefold()
