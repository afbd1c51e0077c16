"""Task names from a shell command: the base name of the program that does the work, and others like it."""

import re
import shlex
from collections.abc import Iterator
from itertools import count

MAX_NAME_CHARS = 60
"""Leaves room for a suffix in the 200 characters of a task name."""
_MAX_COMMAND_CHARS = 4_000
"""How much of a command is looked at for its name."""

# Programs that run another one, with those of their options that take a value, and how many arguments come before the
# command.
_WRAPPERS = {
    "chronic": ("", 0),
    "command": ("", 0),
    "env": ("uCS", 0),
    "exec": ("a", 0),
    "flock": ("wE", 1),
    "ionice": ("cnpPu", 0),
    "nice": ("n", 0),
    "nohup": ("", 0),
    "setsid": ("", 0),
    "stdbuf": ("ioe", 0),
    "sudo": ("ugpChrtT", 0),
    "taskset": ("", 1),
    "time": ("fo", 0),
    "timeout": ("ks", 1),
}
# What comes before the work in a command line.
_PREPARATIONS = frozenset(
    (
        ".",
        ":",
        "[",
        "[[",
        "cd",
        "echo",
        "export",
        "false",
        "for",
        "mkdir",
        "pushd",
        "set",
        "sleep",
        "source",
        "test",
        "true",
    )
)
_KEYWORDS = frozenset(("!", "do", "done", "elif", "else", "fi", "if", "then", "until", "while", "{", "}"))
_INTERPRETER = re.compile(r"(ba|da|k|z)?sh|java|node(js)?|perl|php[\d.]*|python[\d.]*|Rscript|ruby")
_SUBSTITUTION = re.compile(r"\$\([^()]*\)|`[^`]*`")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")


def name_of(command: str) -> str:
    """The name, in the characters of task names and at most ``MAX_NAME_CHARS`` of them; "task" if there is none."""
    found = [program for words in _simple_commands(command) if (program := _program(words))]
    working = [program for program, prepares in found if not prepares]
    base = (working or [program for program, _ in found] or ["task"])[0].rstrip("/").rpartition("/")[2]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", base).lstrip("-._")[:MAX_NAME_CHARS].rstrip("-._")
    return name or "task"


def names_of(program: str, digest: str) -> Iterator[str]:
    """Names for a task, best first: ``backup``, ``backup-3fa2``, ``backup-3fa2-2``, ..."""
    yield program
    yield f"{program}-{digest}"
    yield from (f"{program}-{digest}-{number}" for number in count(2))


def _simple_commands(command: str) -> list[list[str]]:
    """The words of each command of a command line, without redirections."""
    command = _SUBSTITUTION.sub("_", command[:_MAX_COMMAND_CHARS])
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        tokens = list(lexer)
    except ValueError:  # a quotation mark without its partner: the shell will complain, the name needs only some word
        tokens = command.split()
    commands: list[list[str]] = [[]]
    redirected = False
    for token in tokens:
        if redirected or (set(token) <= set("<>&") and set(token) & set("<>")):
            redirected = not redirected
        elif set(token) <= set("();|&"):
            commands.append([])
        else:
            commands[-1].append(token)
    return commands


def _program(words: list[str]) -> tuple[str, bool] | None:
    """What a simple command runs, and whether that is but a preparation."""
    wrapper = ""
    while words := _without_prelude(words):
        program = words[0].rpartition("/")[2]
        if program not in _WRAPPERS:
            return _worker(program, words)
        wrapper = wrapper or program
        words = _after_options(words[1:], *_WRAPPERS[program])
    return (wrapper, False) if wrapper else None


def _without_prelude(words: list[str]) -> list[str]:
    """Without keywords of the shell and assignments in front."""
    first = next((at for at, word in enumerate(words) if word not in _KEYWORDS and not _ASSIGNMENT.match(word)), None)
    return [] if first is None else words[first:]


def _worker(program: str, words: list[str]) -> tuple[str, bool]:
    arguments = words[1:]
    if program == "run-parts" and arguments:
        return arguments[-1], False
    if _INTERPRETER.fullmatch(program):
        return _script(arguments) or program, False
    return words[0], words[0] in _PREPARATIONS


def _after_options(words: list[str], with_value: str, positional: int) -> list[str]:
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "-":
        takes_value = len(words[at]) == 2 and words[at][1] in with_value
        at += 2 if takes_value else 1
    return words[at + positional :]


def _script(arguments: list[str]) -> str:
    """What an interpreter was told to run; "" when it says nothing that makes a name."""
    for at, argument in enumerate(arguments):
        if re.fullmatch(r"-[a-z]*c", argument) and at + 1 < len(arguments):
            return name_of(arguments[at + 1])
        if not argument.startswith("-"):
            return argument
    return ""
