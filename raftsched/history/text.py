"""Text as it is indexed: what a terminal would show of an output."""

import re
import zlib

_ESCAPE = re.compile(
    r"\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # a string for the terminal: a title, the address of a link
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*(?P<final>[@-~])"  # a control sequence: a colour, a move of the cursor
    r"|\x1b[ -/]*[0-~]"  # any other escape
)
_WITHIN_WORDS = frozenset("mK")
"""Control sequences that stand within a word as well as between words: colours, and clearing the rest of a line."""


def plain(output: str) -> str:
    """The output without the escape sequences of ECMA-48 (5th edition, 5.3 to 5.6).

    Otherwise the letter that ends a sequence would be taken for the first of the word behind it. A sequence that moves
    the cursor parts words, as it does on a screen.
    """
    return _ESCAPE.sub(_shown, output) if "\x1b" in output or "\x9b" in output else output


def packed(text: str) -> bytes:
    """A text as the index keeps it: the text index is to be given a text again to forget it."""
    return zlib.compress(text.encode(), level=1)


def unpacked(kept: bytes) -> str:
    """What ``packed`` was given."""
    return zlib.decompress(kept).decode()


def _shown(found: re.Match[str]) -> str:
    final = found["final"]
    return "" if final is None or final in _WITHIN_WORDS else " "
