"""Where records of the history are shipped to, each by configuration."""

from collections.abc import Callable

from raftsched.history.settings import SinkSettings
from raftsched.history.sinks.base import Sink
from raftsched.history.sinks.elasticsearch import ElasticsearchSink
from raftsched.history.sinks.jsonl import JsonLinesSink


def open_sink(settings: SinkSettings, say: Callable[[str], None]) -> Sink:
    """The sink of the settings. ``say`` prints a line on the standard output of the node. Raises SinkRefused."""
    if settings.kind == "jsonl":
        return JsonLinesSink(settings, say)
    if settings.kind == "elasticsearch":
        return ElasticsearchSink(settings)
    # Loaded when it is wanted: it comes with an extra.
    from raftsched.history.sinks.otlp import OtlpSink

    return OtlpSink(settings)
