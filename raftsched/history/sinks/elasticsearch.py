"""The bulk API of Elasticsearch and OpenSearch, over plain HTTP."""

import json
from typing import Any

import httpx
import structlog

from raftsched.history.settings import SinkSettings
from raftsched.history.sinks.base import Document, SinkFailed
from raftsched.secret_setting import SecretUrl

_TIMEOUT_S = 30.0
_TOO_MANY, _BAD_REQUEST, _SERVER_ERROR = 429, 400, 500
_log = structlog.get_logger(__name__)


class ElasticsearchSink:
    """Writes each record under its own id, so that one that is shipped twice is there once."""

    def __init__(self, settings: SinkSettings) -> None:
        self._name = settings.name
        self._index = settings.index
        self._url = f"{settings.target.reveal().rstrip('/')}/_bulk"
        self._shown_url = str(SecretUrl(self._url))
        self._client = httpx.Client(timeout=_TIMEOUT_S, headers=settings.revealed_headers(), trust_env=False)

    def send(self, documents: list[Document]) -> int:
        """See Sink. A record that the mapping of the index refuses is told in the log and not sent again."""
        lines: list[str] = []
        for each in documents:
            lines.append(json.dumps({"index": {"_index": self._index, "_id": each.id}}))
            lines.append(json.dumps(each.fields))
        body = "".join(f"{line}\n" for line in lines).encode()
        try:
            response = self._client.post(self._url, content=body, headers={"content-type": "application/x-ndjson"})
        except httpx.HTTPError as error:
            raise SinkFailed(f"{self._shown_url}: {error or type(error).__name__}") from error
        if response.status_code != httpx.codes.OK:
            raise SinkFailed(f"{self._shown_url} answered {response.status_code}: {response.text[:200]}")
        return self._refused(_parsed(response))

    def _refused(self, answer: dict[str, Any]) -> int:
        if not answer.get("errors"):
            return 0
        results = [result for item in answer.get("items", ()) for result in item.values()]
        failed = [each for each in results if each.get("status", 0) >= _BAD_REQUEST]
        for each in failed:
            if each["status"] == _TOO_MANY or each["status"] >= _SERVER_ERROR:
                raise SinkFailed(f"{self._shown_url} took only a part: {str(each.get('error'))[:200]}")
        for each in failed[:3]:
            _log.error(
                "the sink refuses a record, which is not shipped",
                sink=self._name,
                id=each.get("_id"),
                reason=str(each.get("error"))[:500],
            )
        return len(failed)

    def close(self) -> None:
        """See Sink."""
        self._client.close()


def _parsed(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise SinkFailed(
            f"{SecretUrl(str(response.url))} gave an answer that is not that of a bulk API: {response.text[:100]!r}"
        )
    return answer
