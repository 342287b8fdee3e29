"""Where the broker is, and with which key: from arguments or the environment, checked once."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ._errors import ConfigurationError

_KEY = re.compile(r"[!-~]+\.[!-~]+")


def base_url(given: str | None, allow_http: bool) -> str:
    """The root of the gateway, without a slash at its end."""
    url = given if given is not None else os.environ.get("PORTCULLIS_URL", "")
    if not url:
        raise ConfigurationError("Where is Portcullis? Set PORTCULLIS_URL, for example https://gw.example.com")
    parts = urlsplit(url)
    too_much = "@" in parts.netloc or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not parts.hostname or too_much:
        raise ConfigurationError("PORTCULLIS_URL must be like https://gw.example.com")
    if parts.scheme == "http" and not (allow_http or _is_loopback(parts.hostname)):
        raise ConfigurationError(
            f"PORTCULLIS_URL sends the API key to {parts.hostname} without encryption: use https, or say "
            "allow_http=True when the network between is your own"
        )
    return url.rstrip("/")


def api_key(given: str | None) -> str:
    """The API key, `id.secret`."""
    key = given if given is not None else _key_of_environment()
    key = key.strip()
    # The key itself is in no text, however wrong it is.
    if not _KEY.fullmatch(key):
        raise ConfigurationError(
            "PORTCULLIS_API_KEY is not of the form id.secret: give the value `key` that "
            "`portcullis apikey create NAME --json` printed"
        )
    return key


def personal_tokens(given: Mapping[str, str] | None) -> Callable[[str], str | None]:
    """Finds the personal access token of a service: in `given`, or in the environment when that is `None`."""
    if given is None:
        return lambda service: os.environ.get(variable_of(service)) or None
    tokens = dict(given)
    return lambda service: tokens.get(service) or None


def variable_of(service: str) -> str:
    """`PORTCULLIS_PAT_GITHUB` for `github`."""
    return "PORTCULLIS_PAT_" + re.sub(r"[^A-Z0-9]", "_", service.upper())


def _key_of_environment() -> str:
    key, file = os.environ.get("PORTCULLIS_API_KEY"), os.environ.get("PORTCULLIS_API_KEY_FILE")
    if key and file:
        raise ConfigurationError("PORTCULLIS_API_KEY and PORTCULLIS_API_KEY_FILE are both set: unset one")
    if key:
        return key
    if not file:
        raise ConfigurationError(
            "Which API key? Set PORTCULLIS_API_KEY or PORTCULLIS_API_KEY_FILE; "
            "`portcullis apikey create NAME` makes one"
        )
    try:
        return Path(file).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"PORTCULLIS_API_KEY_FILE: {file} cannot be read ({type(error).__name__})") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
