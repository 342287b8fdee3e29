"""What can go wrong, each with a text that says what to do. No text ever holds a key or a token."""

from __future__ import annotations


class PortcullisError(Exception):
    """Whatever this library raises."""


class ConfigurationError(PortcullisError, ValueError):
    """The client cannot be made from these arguments and this environment."""


class AuthorizationRequired(PortcullisError):
    """The person has not connected the service yet, or not with these scopes.

    `auth_url` may be shown to the person. It is for them alone, and for once; where a service knows personal access
    tokens only, it is the page on which to leave one.
    """

    def __init__(self, service: str, user_id: str, auth_url: str) -> None:
        super().__init__(
            f"{service} is not connected for {user_id}. Open this link, sign in and go on from there, then try again: "
            f"{auth_url}"
        )
        self.service = service
        self.user_id = user_id
        self.auth_url = auth_url


class CallerUnknown(PortcullisError):
    """Nobody knows for whom a tool was called."""

    def __init__(self) -> None:
        super().__init__(
            "It is not known who calls this tool: give the MCP server an authentication whose access tokens have the "
            "claim `username` or `sub`, or tell require_auth by user_id=."
        )


class KeyRefused(PortcullisError):
    """The broker does not take the API key."""

    def __init__(self) -> None:
        super().__init__(
            "Portcullis refuses the API key: it is unknown, expired or revoked. Make one with "
            "`portcullis apikey create NAME` and put it into PORTCULLIS_API_KEY."
        )


class NotAllowed(PortcullisError):
    """The API key is good, but not for this service or this person."""

    def __init__(self, service: str, user_id: str, reason: str = "") -> None:
        super().__init__(
            f"The API key may not ask for {service} on behalf of {user_id}{_told(reason)}. Make one that may: "
            f"portcullis apikey create NAME --service {service} --user {user_id}"
        )
        self.service = service
        self.user_id = user_id


class ServiceUnknown(PortcullisError):
    """The broker has no such service, or knows no such person."""

    def __init__(self, service: str, reason: str = "") -> None:
        super().__init__(
            f"Portcullis cannot look for {service}{_told(reason)}. Its configuration needs a [[service]] of that name, "
            "and the person an account there."
        )
        self.service = service


class RequestRefused(PortcullisError):
    """The broker finds the request itself wrong."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Portcullis refused the request: {reason}")


class RateLimited(PortcullisError):
    """Too many requests. `retry_after` is in seconds, when the broker said it."""

    def __init__(self, retry_after: float | None) -> None:
        super().__init__(f"Portcullis is asked too often; {_later(retry_after)}")
        self.retry_after = retry_after


class ProviderTrouble(PortcullisError):
    """The service's provider, or the broker, fails at the moment. The connection stays.

    `retry_after` is in seconds, when the broker said it.
    """

    def __init__(self, service: str, retry_after: float | None) -> None:
        super().__init__(f"{service} gives no token at the moment; {_later(retry_after)}")
        self.service = service
        self.retry_after = retry_after


class BrokerUnreachable(PortcullisError):
    """No answer at all."""

    def __init__(self, origin: str, reason: str) -> None:
        super().__init__(
            f"No answer from Portcullis at {origin} ({reason}). Is it running, and is PORTCULLIS_URL right?"
        )


class UnexpectedAnswer(PortcullisError):
    """An answer that no Portcullis gives."""

    def __init__(self, origin: str, status: int, reason: str) -> None:
        super().__init__(
            f"{origin} answered with status {status}: {reason}. Does PORTCULLIS_URL name the root of a Portcullis?"
        )
        self.status = status


def _told(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _later(retry_after: float | None) -> str:
    return "try again in a minute." if retry_after is None else f"try again in {retry_after:.0f} seconds."
