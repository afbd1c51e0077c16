"""Structured logs of a process: lines for people, or JSON for machines."""

import logging
import sys
from collections.abc import Sequence

import structlog

from raftsched.config import LogConfig
from raftsched.secret_setting import hide


def configure(config: LogConfig, secrets: Sequence[str] = ()) -> None:
    """Send this process's log to standard error, in the format and from the level that the settings name.

    ``secrets`` are masked in it, whoever logs them: libraries do, and servers repeat what they were sent.
    """

    def hiding(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {key: hide(value, secrets) if isinstance(value, str) else value for key, value in event.items()}

    level = getattr(logging, config.level.upper())
    renderer: structlog.typing.Processor
    if config.format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info if config.format == "json" or secrets else _as_it_is,
            *([hiding] if secrets else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Hiding(secrets))
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler])


class _Hiding(logging.Formatter):
    """Lines of libraries, with their tracebacks, without the secrets."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__("%(levelname)s %(name)s %(message)s")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        return hide(super().format(record), self._secrets)


def _as_it_is(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The console renderer shows tracebacks itself."""
    return event
