"""Finds the Python callables that the operator has exposed, and nothing else."""

import importlib
import inspect
import json
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points

ENTRY_POINT_GROUP = "raftsched.callables"

Exposed = Callable[..., object]


class CallableRefused(Exception):
    """The callable is not exposed or does not exist, or the arguments are not a JSON object. Nothing was called."""


class Callables:
    """Looks callables up by entry-point name or as ``package.module:function``.

    Looking up imports modules of the operator, which may block: not for the executor's event loop.
    """

    def __init__(self, allow: Sequence[str]) -> None:
        self._allow = frozenset(allow)
        self._points: dict[str, EntryPoint] | None = None
        self._known: dict[str, Exposed] = {}

    def known(self, name: str) -> Exposed | None:
        """The callable if it has been looked up before; never blocks."""
        return self._known.get(name)

    def find(self, name: str) -> Exposed:
        """Import and return the callable. Raises CallableRefused, or whatever its module raises when imported."""
        found = self._known.get(name)
        if found is None:
            found = self._import(name) if ":" in name else self._load(name)
            if not callable(found):
                raise CallableRefused(f"{name} is not callable")
            self._known[name] = found
        return found

    def _load(self, name: str) -> Exposed:
        if self._points is None:
            self._points = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
        point = self._points.get(name)
        if point is None:
            raise CallableRefused(
                f"{name!r} is no entry point of the group {ENTRY_POINT_GROUP} on this executor; "
                "a callable of the allow-list is named package.module:function"
            )
        loaded: Exposed = point.load()
        return loaded

    def _import(self, name: str) -> Exposed:
        module_name, _, function = name.partition(":")
        listed = name in self._allow
        if not listed and not (f"{module_name}:*" in self._allow and not function.startswith("_")):
            raise CallableRefused(f"{name} is not in python_allow of this executor")
        found: Exposed | None = getattr(importlib.import_module(module_name), function, None)
        if found is None:
            raise CallableRefused(f"the module {module_name} has no {function!r}")
        # A wildcard exposes what the module defines, not what it happens to import.
        if not listed and getattr(found, "__module__", None) != module_name:
            raise CallableRefused(f"{name} is defined elsewhere, so {module_name}:* in python_allow does not expose it")
        return found


def exposed_names(allow: Sequence[str]) -> list[str]:
    """What tasks may name: entry points and the allow-list, in order. Reads what is installed; imports nothing."""
    return sorted({*allow, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def is_async(function: Exposed) -> bool:
    """Whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - callable() does not tell a coroutine function


def arguments(kwargs_json: str) -> dict[str, object]:
    """The keyword arguments. Raises CallableRefused when the text is not a JSON object."""
    try:
        kwargs = json.loads(kwargs_json or "{}")
    except ValueError as error:
        raise CallableRefused(f"kwargs_json is not JSON: {error}") from None
    if not isinstance(kwargs, dict):
        raise CallableRefused("kwargs_json is not a JSON object")
    return kwargs
