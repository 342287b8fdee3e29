"""The same client for code without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar

from ._client import AuthClient, AuthLink
from ._token import ServiceToken

T = TypeVar("T")


class SyncAuthClient:
    """An AuthClient on an event loop of its own, in a thread of its own. May be used from any thread.

    A thread does not survive a fork: servers that fork make the client in the worker.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        pats: Mapping[str, str] | None = None,
        allow_http: bool = False,
    ) -> None:
        """The arguments are AuthClient's. Raises ConfigurationError."""
        self._client = AuthClient(base_url, api_key, pats=pats, allow_http=allow_http)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="portcullis-client", daemon=True)
        self._thread.start()

    def token(self, service: str, user_id: str, *, scope: str | Iterable[str] | None = None) -> ServiceToken:
        """As AuthClient.token."""
        return self._wait(self._client.token(service, user_id, scope=scope))

    def auth_url(self, service: str, user_id: str, *, scope: str | Iterable[str] | None = None) -> AuthLink:
        """As AuthClient.auth_url."""
        return self._wait(self._client.auth_url(service, user_id, scope=scope))

    def disconnect(self, service: str, user_id: str) -> None:
        """As AuthClient.disconnect."""
        self._wait(self._client.disconnect(service, user_id))

    def invalidate(self, token: ServiceToken) -> None:
        """As AuthClient.invalidate."""
        self._loop.call_soon_threadsafe(self._client.invalidate, token)

    def close(self) -> None:
        """Ends the thread, and forgets all tokens."""
        if self._loop.is_closed():
            return
        self._wait(self._client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> SyncAuthClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
