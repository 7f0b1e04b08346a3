"""Names from outside as text: no character of them moves a cursor, changes a color or an order."""

import sys
import unicodedata
from typing import Any


def escape_controls(text: object) -> str:
    r"""Spell out what is not printed as itself: control, format and undecodable characters.

    Format characters (Unicode's Cf) turn the direction of what follows, or are invisible.

    Args:
        text: a name, a label or a message.

    Returns:
        The text, with such a character as Python's literals have it.

    >>> print(escape_controls("a\x1b[31m\n\u202eb \N{IDEOGRAPHIC SPACE}é"))
    a\x1b[31m\n\u202eb 　é
    """
    said = str(text)
    return said if said.isprintable() else "".join(map(spell_character, said))


def spell_character(character: str) -> str:
    """A character, or its escape if it is not printed as itself; all spaces of a line are."""
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


def one_line(message: object) -> str:
    """A message of one or several lines as one."""
    return escape_controls(" ".join(str(message).split()))


def write_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """What shows a warning in one line, without the place in the code it came from."""
    sys.stderr.write(f"warning: {one_line(message)}\n")
    sys.stderr.flush()
