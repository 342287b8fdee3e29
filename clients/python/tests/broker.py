"""A broker on a real socket that does what a test tells it to, however wrong."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Any

import httpx._transports.default as transports

from portcullis_client import AuthClient

# Authorities are read once for all clients: that takes longer than a test.
transports.create_ssl_context = functools.cache(transports.create_ssl_context)  # type: ignore[attr-defined]

KEY = "id.secret-of-the-key"
TOKEN = "secret-of-the-token"


class Asked:
    """A request as it arrived."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: Any) -> None:
        self.method, self.path, self.headers, self.body = method, path, headers, body


Answer = bytes | None
"""Octets to write, or nothing: the connection ends without an answer."""


class Broker:
    """Answers with the next of `answers`, the last of them again and again."""

    def __init__(self, *answers: Answer | Callable[[Asked], Awaitable[Answer]]) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.busy = asyncio.Event()

    async def __aenter__(self) -> Broker:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def client(self, **options: Any) -> AuthClient:
        return AuthClient(self.url, KEY, **{"pats": {}, **options})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            asked = Asked(method, path, headers, json.loads(body) if body else None)
            self.asked.append(asked)
            self.busy.set()
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            octets = await answer(asked) if callable(answer) else answer
            if octets is not None:
                writer.write(octets)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def http(status: int, content: object = None, **headers: object) -> bytes:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = {"Content-Type": "application/json", "Content-Length": len(body), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Any\r\n{head}\r\n".encode() + body


def granted(lives: float | None = 3600, access_token: str = TOKEN, **others: object) -> bytes:
    expires_at = None if lives is None else time.time() + lives
    content = {"access_token": access_token, "token_type": "Bearer", "expires_at": expires_at, "source": "oauth"}
    return http(200, {**content, **others}, Date=date())


def unconnected(link: str = "https://gw.example/auth/google?link=1") -> bytes:
    return http(401, {"error": "authorization_required", "auth_url": link})


def date(ahead: float = 0) -> str:
    return format_datetime(datetime.fromtimestamp(time.time() + ahead, timezone.utc), usegmt=True)
