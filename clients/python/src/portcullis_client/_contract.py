"""The broker's HTTP interface: what is sent, what the answers mean, when asking again is safe. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ._errors import (
    AuthorizationRequired,
    KeyRefused,
    NotAllowed,
    PortcullisError,
    ProviderTrouble,
    RateLimited,
    RequestRefused,
    ServiceUnknown,
    UnexpectedAnswer,
)
from ._token import Key, ServiceToken, Source

MAX_ANSWER = 64 * 1024
"""Octets of an answer that are read."""


class Request(NamedTuple):
    method: str
    path: str
    key: Key

    @property
    def body(self) -> dict[str, str]:
        body = {"service": self.key.service, self.key.named_by: self.key.user_id}
        return {**body, "scope": self.key.scope} if self.key.scope else body


def token_request(key: Key) -> Request:
    return Request("POST", "/auth/token", key)


def link_request(key: Key) -> Request:
    return Request("POST", "/auth/init", key)


def disconnect_request(key: Key) -> Request:
    return Request("DELETE", "/auth/revoke", key)


@dataclass(frozen=True, repr=False)
class Answer:
    """A response, read whole."""

    origin: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def retry_after(self) -> float | None:
        """Seconds (RFC 9110, section 10.2.3)."""
        value = self.headers.get("retry-after", "").strip()
        if value.isdecimal():
            return float(value)
        until, now = _http_date(value), self.date()
        return None if until is None else max(0.0, (until - now).total_seconds())

    def date(self) -> datetime:
        """The time at the server when it answered."""
        return _http_date(self.headers.get("date", "")) or datetime.now(timezone.utc)

    def member(self, name: str) -> Any:
        try:
            content = json.loads(self.body)
        # Brackets without end are an error of their own.
        except (ValueError, RecursionError):
            return None
        return content.get(name) if isinstance(content, dict) else None

    def text(self, name: str) -> str:
        value = self.member(name)
        return value if isinstance(value, str) else ""


class Granted(NamedTuple):
    token: ServiceToken
    lifetime: float | None
    """Seconds that the token still lives, by the broker's clock."""


def granted(request: Request, answer: Answer) -> Granted:
    """The token of an answer."""
    if answer.status != 200:
        raise failure(request, answer)
    found = _granted(request.key, answer)
    if isinstance(found, str):
        raise UnexpectedAnswer(answer.origin, answer.status, found)
    return found


def link(request: Request, answer: Answer) -> tuple[str, float | None]:
    """The link of an answer, and for how many seconds it is good, if it ends."""
    if answer.status != 200:
        raise failure(request, answer)
    url, expires_in = web_url(answer.text("auth_url")), answer.member("expires_in")
    if not url:
        raise UnexpectedAnswer(answer.origin, answer.status, "it has no auth_url")
    return url, float(expires_in) if _is_number(expires_in) else None


def disconnected(request: Request, answer: Answer) -> None:
    if answer.status not in (200, 204):
        raise failure(request, answer)


def failure(request: Request, answer: Answer) -> PortcullisError:
    """What an answer means that is no success."""
    service, user_id = request.key.service, request.key.user_id
    reason = answer.text("error_description") or answer.text("error")
    url = web_url(answer.text("auth_url"))
    if answer.status == 401 and answer.text("error") == "authorization_required" and url:
        return AuthorizationRequired(service, user_id, url)
    match answer.status:
        case 400 | 422:
            return RequestRefused(reason or "it does not say why")
        case 401:
            return KeyRefused()
        case 403:
            return NotAllowed(service, user_id, reason)
        case 404:
            return ServiceUnknown(service, reason)
        case 429:
            return RateLimited(answer.retry_after())
        case 502 | 503 | 504:
            return ProviderTrouble(service, answer.retry_after())
        case 500 if answer.text("error"):
            # The broker's own trouble: its log says more.
            return ProviderTrouble(service, None)
    return UnexpectedAnswer(answer.origin, answer.status, reason or "no reason given")


@dataclass
class Retries:
    """When to ask again. Every request of this interface may be repeated: none changes anything by being sent twice."""

    attempts: int = 3
    patience: float = 5.0
    """Seconds of waiting in all."""

    def pause(self, answer: Answer | None) -> float | None:
        """Seconds to wait before the next attempt; `None`: do not. `answer`: of 502, 503, 504, or none came."""
        told = answer.retry_after() if answer else None
        pause = told if told is not None else 0.25
        self.attempts -= 1
        if self.attempts <= 0 or pause > self.patience:
            return None
        self.patience -= pause
        return pause


RETRIED = frozenset({502, 503, 504})


def web_url(text: str) -> str:
    """`text` if it is an address that a person may be sent to, or nothing."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme in ("http", "https") and parts.hostname and text.isprintable() else ""


def _granted(key: Key, answer: Answer) -> Granted | str:
    # Says what is wrong instead of raising it: a traceback would keep this frame, and the secret in it, alive.
    access_token, token_type = answer.text("access_token"), answer.text("token_type") or "Bearer"
    if not access_token or not access_token.isascii() or not access_token.isprintable():
        return "it has no access_token"
    if not token_type.isascii() or not token_type.isprintable():
        return "its token_type is none"
    expiry = answer.member("expires_at")
    expires_at = _moment(expiry)
    if expiry is not None and expires_at is None:
        return "its expires_at is no time"
    source: Source = "pat" if answer.member("source") == "pat" else "oauth"
    token = ServiceToken(
        key, access_token, token_type=token_type, expires_at=expires_at, scope=answer.text("scope"), source=source
    )
    # By the broker's clock, so that ours need not be right.
    expires_in = answer.member("expires_in")
    if not _is_number(expires_in):
        expires_in = None if expires_at is None else (expires_at - answer.date()).total_seconds()
    return Granted(token, expires_in)


def _moment(value: object) -> datetime | None:
    """A time as seconds since 1970 or as in RFC 3339."""
    try:
        if _is_number(value):
            return datetime.fromtimestamp(float(value), timezone.utc)  # type: ignore[arg-type]
        if isinstance(value, str):
            # Python 3.10 knows no `Z`.
            moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
            return moment if moment.tzinfo else None
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _http_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
