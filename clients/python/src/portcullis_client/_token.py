"""A token, and the name under which it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, NamedTuple, NoReturn

Source = Literal["oauth", "pat", "environment"]
"""Where a token comes from: the person's connection, a personal access token that Portcullis keeps, or one in the
environment of this process (`PORTCULLIS_PAT_<SERVICE>`)."""


class Email(str):
    """A person by their verified e-mail address instead of their user name, which may look like one."""

    __slots__ = ()


class Key(NamedTuple):
    """Whose token, for what. The order of scopes means nothing (RFC 6749, section 3.3)."""

    service: str
    user_id: str
    scope: str
    named_by: Literal["user_id", "user_email"] = "user_id"

    @classmethod
    def of(cls, service: str, user_id: str, scope: str | Iterable[str] | None) -> Key:
        scopes = scope.split() if isinstance(scope, str) else list(scope or ())
        named_by: Literal["user_id", "user_email"] = "user_email" if isinstance(user_id, Email) else "user_id"
        return cls(service, str(user_id), " ".join(sorted(set(scopes))), named_by)

    def is_of(self, other: Key) -> bool:
        """Whether both are about the same connection."""
        return self._replace(scope="") == other._replace(scope="")


class ServiceToken:
    """An access token of a service for one person.

    It never shows its secret by itself: not in `repr`, not in `vars`, not in a pickle. Read `access_token`, or send
    `headers`.
    """

    __slots__ = ("__secret", "expires_at", "key", "scope", "source", "token_type")

    def __init__(
        self,
        key: Key,
        access_token: str,
        *,
        token_type: str = "Bearer",  # noqa: S107
        expires_at: datetime | None = None,
        scope: str = "",
        source: Source = "oauth",
    ) -> None:
        self.__secret = access_token
        self.key = key
        self.token_type = token_type
        self.expires_at = expires_at
        self.scope = scope
        self.source: Source = source

    @property
    def access_token(self) -> str:
        """The secret."""
        return self.__secret

    @property
    def headers(self) -> dict[str, str]:
        """The header that authorizes a request to the service (RFC 6750, section 2.1)."""
        kind = "Bearer" if self.token_type.lower() == "bearer" else self.token_type
        return {"Authorization": f"{kind} {self.__secret}"}

    @property
    def service(self) -> str:
        return self.key.service

    @property
    def user_id(self) -> str:
        return self.key.user_id

    def __repr__(self) -> str:
        return (
            f"ServiceToken(service={self.service!r}, user_id={self.user_id!r}, source={self.source!r}, "
            f"expires_at={self.expires_at!r}, access_token=hidden)"
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ServiceToken is not written anywhere: ask the client for it again")
