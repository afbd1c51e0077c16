"""A task name from a shell command: the base name of the program that does the work."""

import re
import shlex

MAX_NAME_CHARS = 60
"""Leaves room for a suffix in the 200 characters of a task name."""

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


def _simple_commands(command: str) -> list[list[str]]:
    """The words of each command of a command line, without redirections."""
    command = _SUBSTITUTION.sub("_", command)
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
    while words and (words[0] in _KEYWORDS or _ASSIGNMENT.match(words[0])):
        words = words[1:]
    if not words:
        return None
    program, arguments = words[0].rpartition("/")[2], words[1:]
    if program in _WRAPPERS:
        return _program(_after_options(arguments, *_WRAPPERS[program])) or (program, False)
    if program == "run-parts" and arguments:
        return arguments[-1], False
    if _INTERPRETER.fullmatch(program):
        return _script(arguments) or program, False
    return words[0], words[0] in _PREPARATIONS


def _after_options(words: list[str], with_value: str, positional: int) -> list[str]:
    while words and words[0].startswith("-") and words[0] != "-":
        takes_value = len(words[0]) == 2 and words[0][1] in with_value
        words = words[2 if takes_value else 1 :]
    return words[positional:]


def _script(arguments: list[str]) -> str:
    """What an interpreter was told to run; "" when it says nothing that makes a name."""
    for at, argument in enumerate(arguments):
        if re.fullmatch(r"-[a-z]*c", argument) and at + 1 < len(arguments):
            return name_of(arguments[at + 1])
        if not argument.startswith("-"):
            return argument
    return ""
