"""Reads what users write into a search box, and writes it as SQLite's FTS5 reads it.

Words and "phrases" must all be there; OR, NOT and parentheses as in FTS5, ``error:`` or ``output:`` before a word or a
group narrows it to that text, and a word that ends in ``*`` stands for all that begin so. Any other punctuation belongs
to its word: FTS5 would take ``10.0.0.1:80`` for an error of syntax.
"""

import re
import unicodedata

MAX_CHARACTERS = 1_000
MAX_WORDS = 32
_MIN_PREFIX = 2
_TOKEN = re.compile(r'\s+|(?P<open>\()|(?P<close>\))|"(?P<phrase>[^"]*)"|(?P<word>[^\s()"]+)|(?P<quote>")')
_COLUMN = re.compile(r"(error|output):(.*)", re.DOTALL)


class QuerySyntaxError(ValueError):
    """The text is no query; says what is wrong with it."""


def to_fts(text: str) -> tuple[str, list[str]]:
    """The FTS5 expression, and the words and phrases that it looks for (for a snippet). Raises QuerySyntaxError."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise QuerySyntaxError("holds half of a surrogate pair, which is no character")
    if len(text) > MAX_CHARACTERS:
        raise QuerySyntaxError(f"has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    return _QueryReader(text).read()


class _QueryReader:
    """Reads one query: expression = conjunction {OR conjunction}; conjunction = term {[AND | NOT] term}."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._position = 0
        self._terms: list[str] = []

    def read(self) -> tuple[str, list[str]]:
        if not self._tokens:
            raise QuerySyntaxError("holds no words: letters and digits")
        if len(self._tokens) > 3 * MAX_WORDS:
            raise QuerySyntaxError(f"has more than {MAX_WORDS} words")
        expression = self._expression(0)
        if self._position < len(self._tokens):
            raise QuerySyntaxError('has a ")" without a "("')
        return expression, self._terms

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._position] if self._position < len(self._tokens) else ("end", "")

    def _expression(self, depth: int) -> str:
        if depth > MAX_WORDS:
            raise QuerySyntaxError("is nested too deeply")
        parts = [self._conjunction(depth)]
        while self._peek() == ("word", "OR"):
            self._position += 1
            parts.append(self._conjunction(depth))
        return " OR ".join(parts)

    def _conjunction(self, depth: int) -> str:
        # FTS5 has no unary NOT, and binds NOT closer than AND: write both out.
        result = self._term(depth)
        while True:
            kind, text = self._peek()
            if kind in ("end", "close") or (kind, text) == ("word", "OR"):
                return result
            operator = text if kind == "word" and text in ("AND", "NOT") else ""
            self._position += bool(operator)
            result = f"({result} {operator or 'AND'} {self._term(depth, is_wanted=operator != 'NOT')})"

    def _term(self, depth: int, *, is_wanted: bool = True) -> str:
        kind, text = self._peek()
        self._position += 1
        if kind == "open":
            inner = self._expression(depth + 1)
            if self._peek()[0] != "close":
                raise QuerySyntaxError('has a "(" without a ")"')
            self._position += 1
            return f"({inner})"
        if kind == "phrase":
            return self._quoted(text, is_wanted)
        if kind == "word" and text not in ("AND", "OR", "NOT"):
            return self._word(text, depth, is_wanted)
        before = "at its end" if kind == "end" else f"before {text!r}"
        raise QuerySyntaxError(f"lacks a word {before}; put double quotes around a word that is meant as such")

    def _word(self, text: str, depth: int, is_wanted: bool) -> str:
        column = _COLUMN.fullmatch(text)
        if column is not None:
            name, rest = column.groups()
            if rest:
                return f"{name} : {self._word(rest, depth, is_wanted)}"
            if self._peek()[0] in ("open", "phrase"):
                return f"{name} : {self._term(depth, is_wanted=is_wanted)}"
            raise QuerySyntaxError(f"lacks a word after '{name}:'")
        if text.endswith("*"):
            stem = text.rstrip("*")
            if len(stem) < _MIN_PREFIX:
                raise QuerySyntaxError(f"{text!r}: at least {_MIN_PREFIX} characters must stand before a *")
            return f"{self._quoted(stem, is_wanted)} *"
        return self._quoted(text, is_wanted)

    def _quoted(self, text: str, is_wanted: bool) -> str:
        if not _is_indexed(text):
            raise QuerySyntaxError(f"{text[:40]!r} holds no letter or digit, and those alone are indexed")
        if is_wanted:
            self._terms.append(text)
        if len(self._terms) > MAX_WORDS:
            raise QuerySyntaxError(f"has more than {MAX_WORDS} words")
        return f'"{text}"'


def _is_indexed(text: str) -> bool:
    return any(unicodedata.category(character)[0] in "LN" for character in text)


def _tokens(text: str) -> list[tuple[str, str]]:
    found = []
    for match in _TOKEN.finditer(text.replace("\0", " ")):
        kind = match.lastgroup
        if kind == "quote":
            raise QuerySyntaxError("has a double quote that is not closed")
        # What holds nothing that is indexed narrows nothing.
        if kind is not None and (kind in ("open", "close") or _is_indexed(match.group(kind))):
            found.append((kind, match.group(kind)))
    return found


def snippet(texts: list[str], terms: list[str], width: int = 200) -> str:
    """The surroundings of the first place in the texts where a term stands; "" when none does."""
    for text in texts:
        folded = text.casefold()
        places = [place for term in terms if (place := folded.find(term.casefold())) >= 0]
        if places:
            start = max(0, min(places) - width // 3)
            piece = " ".join(text[start : start + width].split())
            return ("…" if start else "") + piece + ("…" if start + width < len(text) else "")
    return ""
