"""Finds the kinds of action that this executor can run: those of raftsched and those that the operator has added."""

from importlib.metadata import entry_points

import structlog

from raftsched.executor.actions.base import Runner, RunnerFactory, Surroundings

ENTRY_POINT_GROUP = "raftsched.actions"
EXTENSION = "extension"
_OWN = "raftsched"
_NEEDED = frozenset({"command", "http", "python"})

_log = structlog.get_logger(__name__)


class Runners:
    """The runners of this executor, by kind. All are made at the start, for an import blocks."""

    def __init__(self, surroundings: Surroundings) -> None:
        """Raises RuntimeError when the kinds of raftsched itself are not found."""
        self._runners: dict[str, Runner] = {}
        self._problems: dict[str, str] = {}
        points = entry_points(group=ENTRY_POINT_GROUP)
        # Ours come first: another distribution cannot take their names.
        for point in sorted(points, key=lambda point: (not point.value.startswith(f"{_OWN}."), point.name)):
            if point.name in self._runners or point.name in self._problems:
                _log.warning("kind of action left out: its name is taken", kind=point.name, value=point.value)
                continue
            try:
                make: RunnerFactory = point.load()
                self._runners[point.name] = make(surroundings)
            except Exception as error:  # noqa: BLE001 - an extension of others must not keep the executor from starting
                self._problems[point.name] = f"{type(error).__name__}: {error}"
                _log.error("kind of action not available", kind=point.name, value=point.value, reason=f"{error}")
        if missing := _NEEDED - self._runners.keys():
            raise RuntimeError(
                f"no runner for {', '.join(sorted(missing))}: the installed distribution of raftsched is older than "
                "its code; install it again (in a checkout: ./scripts/setup)"
            )

    def get(self, kind: str) -> Runner | None:
        """The runner of that kind, or None."""
        return self._runners.get(kind)

    @property
    def kinds(self) -> list[str]:
        """The kinds that there are runners of, in order."""
        return sorted(self._runners)

    def why_not(self, kind: str) -> str:
        """Why there is no runner of that kind, for whoever registered the task."""
        if problem := self._problems.get(kind):
            return f"the action {kind!r} is not available on this executor: {problem}"
        known = ", ".join(sorted(self._runners))
        return f"this executor does not know the kind of action {kind!r}; it knows {known}"

    async def close(self) -> None:
        """Close all of them."""
        for runner in self._runners.values():
            await runner.close()
