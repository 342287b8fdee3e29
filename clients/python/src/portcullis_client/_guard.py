"""Tools that need a token: the decorator, and what becomes of a call without one."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import time
import typing
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._caller import Call, UserId, current, user_of
from ._client import AuthClient
from ._errors import AuthorizationRequired, PortcullisError
from ._token import ServiceToken

_CONTEXT = "portcullis_context"
"""The parameter through which the official SDK hands over its context. It is in the annotations, where the SDK looks
for it, and not in the signature, of which the tool's schema is made."""

_context: contextvars.ContextVar[Any] = contextvars.ContextVar("portcullis_context", default=None)
_tokens: contextvars.ContextVar[Mapping[str, ServiceToken]] = contextvars.ContextVar("portcullis_tokens")


def require_auth(
    client: AuthClient,
    *,
    provider: str,
    scopes: Sequence[str] = (),
    user_id: UserId | None = None,
    patience: float = 45.0,
) -> Callable[[Callable[..., Any]], Callable[..., Awaitable[Any]]]:
    """A tool of FastMCP or of the official SDK that needs a token of `provider` (a service of the broker).

    Put it below the framework's decorator. The token is given to the first parameter that is annotated with
    `ServiceToken`, which the tool's schema does not show, and to `current_token(provider)`.

    Without a connection the person gets the link: by URL elicitation where the MCP client declared it, otherwise as a
    tool result with `isError`. The next call asks the broker anew.

    user_id: for whom; default: the claim `username` or `sub` of the caller's access token.
    patience: seconds that a call waits for a person who said to the client that they open the link.
    """

    def decorate(tool: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        shape = _Shape.of(tool)
        gate = _Gate(client, provider, tuple(scopes), patience)

        @functools.wraps(tool)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            official = kwargs.pop(_CONTEXT, None) or shape.context_in(kwargs) or _context.get()
            call = current(official)
            try:
                passed = await gate.enter(call, await user_of(call, user_id))
            except PortcullisError as error:
                # Outside of MCP, as in a test of the tool, the error is the caller's.
                if call is None:
                    raise
                raise call.error(str(error)) from None
            if not isinstance(passed, ServiceToken):
                return passed
            if shape.token is not None:
                kwargs[shape.token] = passed
            return await _run(tool, args, kwargs, official, passed)

        shape.imprint(guarded)
        return guarded

    return decorate


def current_token(provider: str) -> ServiceToken:
    """The token that `require_auth` got for the call in progress. Raises LookupError outside of such a tool."""
    try:
        return _tokens.get()[provider]
    except LookupError:
        raise LookupError(f"no @require_auth(…, provider={provider!r}) around this call") from None


async def _run(
    tool: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], official: Any, token: ServiceToken
) -> Any:
    tokens = _tokens.set({**_tokens.get({}), token.service: token})
    context = _context.set(official)
    try:
        if inspect.iscoroutinefunction(tool):
            return await tool(*args, **kwargs)
        # As both frameworks do with a tool that blocks.
        return await asyncio.to_thread(tool, *args, **kwargs)
    finally:
        _context.reset(context)
        _tokens.reset(tokens)


@dataclass(frozen=True)
class _Shape:
    """A tool's signature and annotations, without what comes from here."""

    signature: inspect.Signature
    annotations: dict[str, Any]
    token: str | None
    contexts: tuple[str, ...]
    """Parameters of the tool's own that the official SDK fills with its context."""

    @classmethod
    def of(cls, tool: Callable[..., Any]) -> _Shape:
        signature = inspect.signature(tool)
        try:
            annotations = typing.get_type_hints(tool, include_extras=True)
        except NameError as error:
            raise TypeError(
                f"{tool.__name__}: {error}: names in annotations of a tool must exist at run time"
            ) from None
        token = next((name for name in signature.parameters if annotations.get(name) is ServiceToken), None)
        parameters = [parameter for name, parameter in signature.parameters.items() if name != token]
        annotations = {name: hint for name, hint in annotations.items() if name != token}
        kind = _official_context()
        contexts = [name for name, hint in annotations.items() if kind and _mentions(hint, kind)]
        if kind and not contexts:
            annotations[_CONTEXT] = kind
        return cls(signature.replace(parameters=parameters), annotations, token, tuple(contexts))

    def context_in(self, kwargs: Mapping[str, Any]) -> Any:
        return next((kwargs[name] for name in self.contexts if kwargs.get(name) is not None), None)

    def imprint(self, guarded: Any) -> None:
        guarded.__signature__ = self.signature
        guarded.__annotations__ = self.annotations


def _official_context() -> Any | None:
    try:
        from mcp.server.mcpserver import Context
    except ImportError:
        return None
    return Context


def _mentions(hint: Any, kind: Any) -> bool:
    kinds = (hint, typing.get_origin(hint), *typing.get_args(hint))
    return any(inspect.isclass(one) and issubclass(one, kind) for one in kinds)


@dataclass(frozen=True)
class _Gate:
    """Lets a call pass with a token, or answers it."""

    client: AuthClient
    provider: str
    scopes: tuple[str, ...]
    patience: float

    async def enter(self, call: Call | None, user: str) -> Any:
        """The token, or the result that takes the tool's place. Raises PortcullisError."""
        try:
            return await self._token(user)
        except AuthorizationRequired as required:
            if call is None or not call.opens_urls:
                raise
            if call.asks_by_result:
                return await self._ask_by_result(call, user, required)
            return await self._ask_by_request(call, user, required)

    async def _ask_by_result(self, call: Call, user: str, required: AuthorizationRequired) -> Any:
        from mcp_types import ElicitRequest, ElicitRequestURLParams, InputRequiredResult

        question = f"portcullis.{self.provider}"
        answer = call.responses.get(question)
        if answer is not None:
            return await self._after(answer, user, required)
        params = ElicitRequestURLParams(message=self._message(required), url=required.auth_url)
        return InputRequiredResult(input_requests={question: ElicitRequest(params=params)})

    async def _ask_by_request(self, call: Call, user: str, required: AuthorizationRequired) -> Any:
        """MCP 2025-11-25: `elicitation/create` where the server can send requests, else the error that asks."""
        elicitation = f"portcullis-{uuid.uuid4()}"
        message = self._message(required)
        if not call.session.can_send_request:
            if not call.carries_errors:
                raise required
            from mcp import UrlElicitationRequiredError
            from mcp_types import ElicitRequestURLParams

            params = ElicitRequestURLParams(message=message, url=required.auth_url, elicitation_id=elicitation)
            raise UrlElicitationRequiredError([params], message)
        answer = await call.session.elicit_url(message, required.auth_url, elicitation, call.request_id)
        token = await self._after(answer, user, required)
        await call.session.send_elicit_complete(elicitation, call.request_id)
        return token

    async def _after(self, answer: Any, user: str, required: AuthorizationRequired) -> ServiceToken:
        """`accept` says that the person opens the link, not that they are done."""
        action = getattr(answer, "action", None)
        if action != "accept":
            raise PortcullisError(
                f"{self.provider} stays unconnected: the person did not want to open the link. "
                "Ask them before you call this tool again."
            )
        # Each question makes a link at the broker, and a line in its audit log.
        until, pause = time.monotonic() + self.patience, 2.0
        while time.monotonic() + pause < until:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 10.0)
            try:
                return await self._token(user)
            except AuthorizationRequired as still:
                required = still
        raise required

    def _token(self, user: str) -> Awaitable[ServiceToken]:
        return self.client.token(self.provider, user, scope=self.scopes)

    def _message(self, required: AuthorizationRequired) -> str:
        return f"This tool needs access to {self.provider} for {required.user_id}. Sign in and approve there to go on."
