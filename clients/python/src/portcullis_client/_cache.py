"""Tokens in memory until shortly before they expire."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ._token import Key, ServiceToken


class Clocks(NamedTuple):
    """Seconds from a clock that nobody sets, and from one that goes on while the machine sleeps."""

    steady: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclass(frozen=True)
class Keeping:
    """How much is kept, and how long."""

    capacity: int = 1000
    margin: float = 60.0
    """Seconds before its expiry when a token is asked for anew."""
    without_expiry: float = 300.0
    """Seconds for which a token is kept that has no expiry."""


class TokenCache:
    """The least recently used token goes first. Only tokens are kept, never that there is none."""

    def __init__(self, keeping: Keeping, clocks: Clocks) -> None:
        self._keeping = keeping
        self._clocks = clocks
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()

    def get(self, key: Key) -> ServiceToken | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clocks.steady() >= entry.until_steady or self._clocks.wall() >= entry.until_wall:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry.token

    def put(self, token: ServiceToken, lifetime: float | None) -> None:
        """Keeps a token that lives for `lifetime` more seconds (`None`: not known)."""
        kept = self._keeping.without_expiry if lifetime is None else lifetime - self._keeping.margin
        if kept <= 0 or self._keeping.capacity <= 0:
            return
        self._entries[token.key] = _Entry(token, self._clocks.steady() + kept, self._clocks.wall() + kept)
        self._entries.move_to_end(token.key)
        while len(self._entries) > self._keeping.capacity:
            self._entries.popitem(last=False)

    def drop(self, token: ServiceToken) -> None:
        """Forgets this token, but none that came after it."""
        entry = self._entries.get(token.key)
        if entry is not None and entry.token.access_token == token.access_token:
            del self._entries[token.key]

    def drop_connection(self, connection: Key) -> None:
        """Forgets a person's tokens of a service, whatever their scope."""
        for key in [key for key in self._entries if key.is_of(connection)]:
            del self._entries[key]

    def clear(self) -> None:
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(frozen=True)
class _Entry:
    token: ServiceToken
    until_steady: float
    until_wall: float
