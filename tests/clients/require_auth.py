"""An MCP server whose tool is guarded by `@require_auth` of clients/python, and the official SDK's client that calls it.

Usage: require_auth.py fastmcp|official WHOAMI-URL. Each line of standard input is a call: who makes it, in which
protocol era, and whether the client opens links. Each answer is a line: the tool's result, or `open` with a link, after
which the next line says that the person has been there.
"""

import asyncio
import json
import sys
from datetime import datetime, timezone

import httpx
import httpx2
import localhost  # noqa: F401  (the import is the effect)
import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp_types import ElicitResult
from portcullis_client import AuthClient, ServiceToken, require_auth
from portcullis_client._cache import Clocks

ahead = 0
CLOCKS = Clocks(lambda: asyncio.get_running_loop().time() + ahead, lambda: datetime.now(timezone.utc).timestamp() + ahead)
PEOPLE = ["alice", "bob"]


async def main(kind, whoami_url):
    global ahead
    client = AuthClient(clocks=CLOCKS)
    server = fastmcp_server() if kind == "fastmcp" else official_server()

    @server.tool()
    @require_auth(client, provider="google", scopes=["openid"])
    async def whoami(greeting: str, token: ServiceToken) -> str:
        """Asks the service who that is."""
        async with httpx.AsyncClient(headers=token.headers) as google:
            answer = await google.get(whoami_url)
        if answer.status_code == 401:
            client.invalidate(token)
        subject = answer.json().get("sub")
        return json.dumps({"greeting": greeting, "sub": subject, "source": token.source, "token": token.access_token})

    app = server.http_app() if kind == "fastmcp" else server.streamable_http_app()
    listener = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    serving = asyncio.create_task(listener.serve())
    while not listener.started:
        await asyncio.sleep(0.01)
    url = f"http://127.0.0.1:{listener.servers[0].sockets[0].getsockname()[1]}/mcp"
    tell({"ready": True})
    while line := await read():
        ahead = line.get("ahead", ahead)
        tell(await call(url, line))
    listener.should_exit = True
    await serving


async def call(url, line):
    async def person(_context, params):
        tell({"open": params.url, "mode": params.mode})
        return ElicitResult(action=(await read())["action"])

    bearer = {"Authorization": f"Bearer {line['as']}"}
    async with httpx2.AsyncClient(headers=bearer, timeout=60) as http:
        transport = streamable_http_client(url, http_client=http)
        callback = person if line.get("opens") else None
        async with Client(transport, mode=line["mode"], elicitation_callback=callback) as client:
            result = await client.call_tool("whoami", {"greeting": "hello"})
    return {"error": result.is_error, "text": result.content[0].text}


def fastmcp_server():
    claims = {name: {"client_id": "test", "sub": f"id of {name}", "username": name} for name in PEOPLE}
    return FastMCP("whoami", auth=StaticTokenVerifier(claims))


def official_server():
    class Verifier:
        async def verify_token(self, token):
            from mcp.server.auth.provider import AccessToken

            return AccessToken(token=token, client_id="test", scopes=[], subject=token) if token in PEOPLE else None

    settings = AuthSettings(issuer_url="http://127.0.0.1", resource_server_url=None)
    return MCPServer("whoami", token_verifier=Verifier(), auth=settings)


async def read():
    line = await asyncio.to_thread(sys.stdin.readline)
    return json.loads(line) if line else None


def tell(answer):
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
