"""OpenTelemetry logs over OTLP with HTTP, by the exporter of the OpenTelemetry SDK (extra ``otlp``)."""

from raftsched.history.settings import SinkSettings
from raftsched.history.sinks.base import Document, SinkFailed, SinkRefused

try:
    import requests
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk._logs.export import LogRecordExportResult
    from opentelemetry.sdk.resources import Resource
except ImportError as error:
    raise SinkRefused("the sink of kind otlp needs the extra: pip install 'raftsched[otlp]'") from error

_TIMEOUT_S = 10.0


class OtlpSink:
    """Sends log records whose body is the error or the state, and whose attributes are the fields of the record."""

    def __init__(self, settings: SinkSettings) -> None:
        self._target = str(settings.target)
        session = requests.Session()
        # No proxies and no ~/.netrc of who started the node.
        session.trust_env = False
        self._exporter = OTLPLogExporter(
            endpoint=settings.target.reveal(),
            headers=settings.revealed_headers(),
            timeout=_TIMEOUT_S,
            session=session,
        )
        self._resource = Resource.create({"service.name": "raftsched"})

    def send(self, documents: list[Document]) -> int:
        """See Sink."""
        result = self._exporter.export([ReadableLogRecord(_record(each), self._resource) for each in documents])
        if result is not LogRecordExportResult.SUCCESS:
            raise SinkFailed(f"{self._target} did not take the records; the log of the node may say why")
        return 0

    def close(self) -> None:
        """See Sink."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call] # has no annotations


def _record(document: Document) -> LogRecord:
    fields = document.fields
    failed = fields.get("state") not in (None, "SUCCEEDED")
    attributes = {
        f"raftsched.{key}": value if isinstance(value, str | int | float | bool) else str(value)
        for key, value in fields.items()
        if key != "message"
    }
    return LogRecord(
        timestamp=document.time_us * 1000,
        severity_number=SeverityNumber.ERROR if failed else SeverityNumber.INFO,
        severity_text="ERROR" if failed else "INFO",
        body=str(fields.get("message", "")),
        attributes={"raftsched.id": document.id, **attributes},
        event_name=f"raftsched.{fields['kind']}",
    )
