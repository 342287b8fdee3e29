"""The client of the broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

import httpx

from . import _contract, _settings
from ._cache import Clocks, Keeping, TokenCache
from ._errors import AuthorizationRequired, BrokerUnreachable, PortcullisError, ProviderTrouble
from ._token import Key, ServiceToken

logger = logging.getLogger("portcullis_client")


class AuthLink(NamedTuple):
    """Where a person connects a service. For that person only, once, within `expires_in` seconds; `None`: the page on
    which everybody leaves their personal access tokens."""

    url: str
    expires_in: float | None


@dataclass(frozen=True)
class Limits:
    """How long the broker may take, in seconds."""

    connect: float = 5.0
    answer: float = 30.0
    """For one attempt from its first octet to its last. Behind an answer there may be the provider's."""


class AuthClient:
    """Asks a Portcullis for tokens of services on behalf of people.

    Tokens are kept in memory until shortly before they expire, and simultaneous calls for the same token make one
    request. One client belongs to one event loop; make it once and share it.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        pats: Mapping[str, str] | None = None,
        allow_http: bool = False,
        keeping: Keeping | None = None,
        limits: Limits | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        """
        base_url: the root of the gateway; default: `PORTCULLIS_URL`.
        api_key: `id.secret`; default: `PORTCULLIS_API_KEY`, or the content of the file `PORTCULLIS_API_KEY_FILE`.
        pats: personal access tokens by service, for when the broker cannot be reached or has no connection; they serve
            everybody who calls. Default: `PORTCULLIS_PAT_<SERVICE>` of the environment; `{}`: none.
        allow_http: speak plain HTTP with a host that is not this one.

        Raises ConfigurationError.
        """
        self._origin = _settings.base_url(base_url, allow_http)
        self._pat = _settings.personal_tokens(pats)
        self._cache = TokenCache(keeping or Keeping(), clocks or Clocks())
        self._limits = limits or Limits()
        self._flights: dict[Key, asyncio.Task[ServiceToken]] = {}
        self._warned: set[str] = set()
        self._http = httpx.AsyncClient(
            auth=_Bearer(_settings.api_key(api_key)),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "portcullis-client"},
            timeout=httpx.Timeout(self._limits.answer, connect=self._limits.connect),
        )

    async def token(self, service: str, user_id: str, *, scope: str | Iterable[str] | None = None) -> ServiceToken:
        """A token that is good for at least the next minute, unless the provider's live shorter.

        `user_id` is the person's user name at Portcullis, or an `Email`.

        Raises AuthorizationRequired when the person must connect the service first; NotAllowed, ServiceUnknown,
        ProviderTrouble, RateLimited, KeyRefused, RequestRefused, BrokerUnreachable, UnexpectedAnswer.
        """
        key = Key.of(service, user_id, scope)
        kept = self._cache.get(key)
        if kept is not None:
            return kept
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._fetch(key))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        # Whoever gives up waiting ends nothing for the others.
        return await asyncio.shield(flight)

    async def auth_url(self, service: str, user_id: str, *, scope: str | Iterable[str] | None = None) -> AuthLink:
        """A link with which the person connects the service. Raises what `token` does, but AuthorizationRequired."""
        request = _contract.link_request(Key.of(service, user_id, scope))
        return AuthLink(*_contract.link(request, await self._exchange(request)))

    async def disconnect(self, service: str, user_id: str) -> None:
        """Ends the person's connection, at the provider too where that is possible. Raises what `auth_url` does."""
        connection = Key.of(service, user_id, None)
        self._forget(connection)
        request = _contract.disconnect_request(connection)
        _contract.disconnected(request, await self._exchange(request))
        # What was under way meanwhile is not kept either.
        self._forget(connection)

    def invalidate(self, token: ServiceToken) -> None:
        """Forgets a token, because the service has refused it."""
        self._cache.drop(token)

    async def aclose(self) -> None:
        """Ends what is under way, and forgets all tokens."""
        for flight in list(self._flights.values()):
            flight.cancel()
        self._cache.clear()
        await self._http.aclose()

    async def __aenter__(self) -> AuthClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AuthClient({self._origin!r})"

    async def _fetch(self, key: Key) -> ServiceToken:
        request = _contract.token_request(key)
        try:
            token, lifetime = _contract.granted(request, await self._exchange(request))
        except (AuthorizationRequired, BrokerUnreachable, ProviderTrouble) as error:
            pat = self._pat(key.service)
            if pat is None:
                raise
            self._tell_of_pat(key.service, error)
            # Not kept, so that a connection counts from the next call on.
            return ServiceToken(key, pat, source="environment")
        # One that was forgotten while it was on its way is not kept.
        if self._flights.get(key) is asyncio.current_task():
            self._cache.put(token, lifetime)
        return token

    async def _exchange(self, request: _contract.Request) -> _contract.Answer:
        retries = _contract.Retries()
        while True:
            answer: _contract.Answer | None = None
            try:
                answer = await asyncio.wait_for(self._send(request), self._limits.answer)
                if answer.status not in _contract.RETRIED:
                    return answer
            except (httpx.TimeoutException, asyncio.TimeoutError):
                raise BrokerUnreachable(self._origin, "it takes too long") from None
            except httpx.HTTPError as error:
                reason = type(error).__name__
            pause = retries.pause(answer)
            if pause is None:
                if answer is not None:
                    return answer
                raise BrokerUnreachable(self._origin, reason)
            await asyncio.sleep(pause)

    async def _send(self, request: _contract.Request) -> _contract.Answer:
        body = bytearray()
        async with self._http.stream(request.method, self._origin + request.path, json=request.body) as response:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _contract.MAX_ANSWER:
                    break
        return _contract.Answer(self._origin, response.status_code, response.headers, bytes(body))

    def _landed(self, key: Key, flight: asyncio.Task[ServiceToken]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        # Read here, so that an error for which nobody waits any more is not reported as forgotten.
        if not flight.cancelled():
            flight.exception()

    def _forget(self, connection: Key) -> None:
        self._cache.drop_connection(connection)
        for key in [key for key in self._flights if key.is_of(connection)]:
            del self._flights[key]

    def _tell_of_pat(self, service: str, error: PortcullisError) -> None:
        if service not in self._warned:
            self._warned.add(service)
            reason = type(error).__name__
            logger.warning("%s is used with the personal access token of this process: %s", service, reason)


class _Bearer(httpx.Auth):
    """As Bearer, because that is the header which HTTP libraries, proxies and error reporters know to hide."""

    def __init__(self, key: str) -> None:
        self.__value = f"Bearer {key}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self.__value
        yield request

    def __repr__(self) -> str:
        return "_Bearer(hidden)"
