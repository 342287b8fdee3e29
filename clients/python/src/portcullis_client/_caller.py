"""Which tool call this is: of FastMCP, of the official SDK, or of neither; and on whose behalf."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ._errors import CallerUnknown

MULTI_ROUND = "2026-07-28"
"""The first protocol revision without requests from the server: questions are results there (SEP-2322)."""


@dataclass(frozen=True)
class Caller:
    """The tool call in progress, as `user_id=` functions get it."""

    context: Any
    """FastMCP's or the official SDK's `Context`."""
    claims: Mapping[str, Any]
    """Of the access token that the MCP server has verified; empty without one."""
    headers: Mapping[str, str]
    """Of the HTTP request, in any case; empty without one. What a client can reach directly, it can forge."""


def forwarded_user(caller: Caller) -> str:
    """The person whom a proxy in front of the server has signed in with `/verify` of a Portcullis.

    Only for servers that nobody reaches past that proxy.
    """
    return unquote(caller.headers.get("x-user-name", ""))


UserId = str | Callable[[Caller], str | Awaitable[str]]
"""A user name at Portcullis, an `Email`, or a function that finds one."""


@dataclass(frozen=True)
class Call:
    """A tool call, as far as both frameworks agree."""

    caller: Caller
    session: Any
    protocol: str
    request_id: Any
    responses: Mapping[str, Any]
    """To questions that an earlier round asked."""
    error: type[Exception]
    """What becomes a tool result with `isError`."""
    carries_errors: bool
    """Whether a protocol error reaches the client as one."""

    @property
    def asks_by_result(self) -> bool:
        # Revisions are dates.
        return self.protocol >= MULTI_ROUND

    @property
    def opens_urls(self) -> bool:
        """Whether the client declared URL elicitation."""
        elicitation = getattr(self.session.client_capabilities, "elicitation", None)
        return getattr(elicitation, "url", None) is not None


def current(official: Any | None) -> Call | None:
    """The call in progress. `official`: the official SDK's context, if it gave one."""
    return _of_official(official) if official is not None else _of_fastmcp()


async def user_of(call: Call | None, given: UserId | None) -> str:
    """For whom the tool is called.

    Without `given`: the claim `username`, which is the user name in tokens of a Portcullis, else `sub`.
    """
    caller = call.caller if call else Caller(None, {}, {})
    if given is None:
        named = caller.claims.get("username") or caller.claims.get("sub")
    elif callable(given):
        named = given(caller)
        if isinstance(named, Awaitable):
            named = await named
    else:
        named = given
    if not isinstance(named, str) or not named:
        raise CallerUnknown
    return named


def _of_official(context: Any) -> Call:
    from mcp.server.mcpserver.exceptions import ToolError

    request = context.request_context.request
    user = getattr(request, "scope", {}).get("user")
    return Call(
        caller=Caller(context, _claims(getattr(user, "access_token", None)), _headers(request)),
        session=context.session,
        protocol=context.protocol_version or "",
        request_id=context.request_id,
        responses=context.input_responses or {},
        error=ToolError,
        carries_errors=True,
    )


def _of_fastmcp() -> Call | None:
    # A server that uses it has imported it.
    if "fastmcp" not in sys.modules:
        return None
    from fastmcp.exceptions import ToolError
    from fastmcp.server.dependencies import get_access_token, get_context

    try:
        context = get_context()
    except RuntimeError:
        return None
    request_context = context.request_context
    if request_context is None:
        return None
    return Call(
        caller=Caller(context, _claims(get_access_token()), _headers(request_context.request)),
        session=request_context.session,
        protocol=request_context.protocol_version or "",
        request_id=context.request_id,
        responses=context.input_responses or {},
        error=ToolError,
        # FastMCP makes a tool result of every error but one (4.1).
        carries_errors=False,
    )


def _headers(request: Any | None) -> Mapping[str, str]:
    headers: Mapping[str, str] = getattr(request, "headers", None) or {}
    return headers


def _claims(access_token: Any | None) -> Mapping[str, Any]:
    if access_token is None:
        return {}
    claims = dict(getattr(access_token, "claims", None) or {})
    subject = getattr(access_token, "subject", None)
    return {"sub": subject, **claims} if subject else claims
