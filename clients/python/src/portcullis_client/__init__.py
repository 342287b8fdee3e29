"""Tokens of Google, GitHub and other services for MCP servers, from a Portcullis gateway."""

from ._caller import Caller, forwarded_user
from ._client import AuthClient, AuthLink
from ._errors import (
    AuthorizationRequired,
    BrokerUnreachable,
    CallerUnknown,
    ConfigurationError,
    KeyRefused,
    NotAllowed,
    PortcullisError,
    ProviderTrouble,
    RateLimited,
    RequestRefused,
    ServiceUnknown,
    UnexpectedAnswer,
)
from ._guard import current_token, require_auth
from ._sync import SyncAuthClient
from ._token import Email, ServiceToken, Source

__all__ = [
    "AuthClient",
    "AuthLink",
    "AuthorizationRequired",
    "BrokerUnreachable",
    "Caller",
    "CallerUnknown",
    "ConfigurationError",
    "Email",
    "KeyRefused",
    "NotAllowed",
    "PortcullisError",
    "ProviderTrouble",
    "RateLimited",
    "RequestRefused",
    "ServiceToken",
    "ServiceUnknown",
    "Source",
    "SyncAuthClient",
    "UnexpectedAnswer",
    "current_token",
    "forwarded_user",
    "require_auth",
]
