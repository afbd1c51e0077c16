"""Delivers the notices in the outbox while this node leads."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import httpx
import structlog
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.envelope import Envelopes
from raftsched.core.backoff import Backoff
from raftsched.core.state.rows import be64, parse_notice_key
from raftsched.definitions import references
from raftsched.notifications.event import CONTENT_TYPE, event_id, render, signature_headers
from raftsched.ports import Clock, Fate, Store, Table

_LOOK_S = 0.25
_BATCH = 200
_CONNECTIONS = 8
_TIMEOUT_S = 10.0
_BACKOFF = Backoff(low_s=1.0, high_s=600.0)
GIVE_UP_S = 24 * 3600
"""A notice that could not be delivered for so long is dropped, and counted."""

_log = structlog.get_logger(__name__)

GetSecret = Callable[[str], str]
"""Gives the value of a secret. May block. Raises an exception whose text names it."""


@dataclass(frozen=True, slots=True)
class _Due:
    key: bytes
    due_us: int
    execution_id: bytes
    occasion: int
    notice: pb.NoticeRow


class Deliverer:
    """Posts what is due, a few at a time, and proposes what came of it.

    A notice leaves the outbox only by the entry that says that it was delivered. If that entry is lost with the leader,
    the next one delivers again, with the same id.
    """

    def __init__(
        self,
        *,
        envelopes: Envelopes,
        store: Store,
        clock: Clock,
        cluster_id: str,
        get_secret: GetSecret,
        version: str,
    ) -> None:
        self._envelopes = envelopes
        self._store = store
        self._clock = clock
        self._cluster_id = cluster_id
        self._get_secret = get_secret
        self._version = version
        self._term: int | None = None
        self._leads = asyncio.Event()
        self._under_way: set[bytes] = set()

    def lead(self, term: int | None) -> None:
        """Begin to lead in ``term``, or stop leading (None)."""
        self._term = term
        if term is None:
            self._leads.clear()
        else:
            self._leads.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        posts: set[asyncio.Task[None]] = set()
        client: httpx.AsyncClient | None = None
        room = asyncio.Semaphore(_CONNECTIONS)
        try:
            while True:
                await self._leads.wait()
                for due in self._collect():
                    client = client or await self._open()
                    self._under_way.add(due.key)
                    post = asyncio.create_task(self._deliver(client, room, due))
                    posts.add(post)
                    post.add_done_callback(posts.discard)
                    post.add_done_callback(_report)
                await asyncio.sleep(_LOOK_S)
        finally:
            for post in posts:
                post.cancel()
            await asyncio.gather(*posts, return_exceptions=True)
            if client is not None:
                await client.aclose()

    def _collect(self) -> list[_Due]:
        room = _BATCH - len(self._under_way)
        with self._store.read() as reader:
            rows = reader.scan(Table.OUTBOX, stop=be64(self._clock.now_us() + 1))
            fresh = ((key, value) for key, value in rows if key not in self._under_way)
            return [
                _Due(key, *parse_notice_key(key), pb.NoticeRow.FromString(v)) for key, v in islice(fresh, max(0, room))
            ]

    async def _open(self) -> httpx.AsyncClient:
        tls: ssl.SSLContext = await asyncio.to_thread(httpx.create_ssl_context)
        return httpx.AsyncClient(
            verify=tls,
            timeout=_TIMEOUT_S,
            limits=httpx.Limits(max_connections=_CONNECTIONS),
            trust_env=False,
            follow_redirects=False,
            headers={"User-Agent": f"raftsched/{self._version}"},
        )

    async def _deliver(self, client: httpx.AsyncClient, room: asyncio.Semaphore, due: _Due) -> None:
        async with room:
            if self._term is None:
                self._under_way.discard(due.key)
                return
            error = await self._post(client, due)
        self._settle(due, error)

    async def _post(self, client: httpx.AsyncClient, due: _Due) -> str:
        """Why it was not delivered, or ""; never with the value of a secret."""
        wanted = due.notice.notifications
        id_ = event_id(due.execution_id, due.occasion)
        body = render(due.execution_id, due.notice, self._cluster_id)
        now_s = self._clock.now_us() // 1_000_000
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                url, headers = await asyncio.to_thread(self._reveal, id_, now_s, body, due)
                # As bytes: of texts, httpx takes ASCII only.
                raw = {name.encode(): value.encode() for name, value in headers.items()}
                response = await client.post(url, content=body, headers=raw)
        except TimeoutError:
            return f"{wanted.url}: no answer within {_TIMEOUT_S:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return f"{wanted.url}: {type(error).__name__}"
        except Exception as error:  # noqa: BLE001 - a secret that is not there, or another defect of one notice
            return f"{wanted.url}: {error}"
        return "" if response.is_success else f"{wanted.url}: status {response.status_code}"

    def _reveal(self, id_: str, now_s: int, body: bytes, due: _Due) -> tuple[str, dict[str, str]]:
        wanted = due.notice.notifications
        headers = {name: references.replace(value, self._get_secret) for name, value in wanted.headers.items()}
        headers |= {"Content-Type": CONTENT_TYPE, "webhook-id": id_, "webhook-timestamp": str(now_s)}
        if wanted.signing_secret:
            headers |= signature_headers(id_, now_s, body, self._get_secret(wanted.signing_secret))
        return references.replace(wanted.url, self._get_secret), headers

    def _settle(self, due: _Due, error: str) -> None:
        command = self._envelopes.command(self._term or 0)
        now_us = command.now_us
        item = command.settle_notices.items.add(due_us=due.due_us, id=due.execution_id, occasion=due.occasion)
        item.delivered = not error
        item.error = error
        if error and now_us - due.notice.create_us < GIVE_UP_S * 1_000_000:
            item.next_us = now_us + int(_BACKOFF.wait_s(due.notice.deliveries + 1, self._clock) * 1e6)
        elif error:
            _log.error("notification dropped", task=due.notice.task, reason=error, deliveries=due.notice.deliveries + 1)

        def finish(_fate: Fate, _outcome: bytes) -> None:
            self._under_way.discard(due.key)

        self._envelopes.propose(command, finish)


def _report(post: "asyncio.Task[None]") -> None:
    """Nobody waits for a post: a defect of one is logged, and its notice stays in the outbox for the next leader."""
    if not post.cancelled() and (error := post.exception()) is not None:
        _log.error("a notice could not be handled", error=f"{type(error).__name__}: {error}")
