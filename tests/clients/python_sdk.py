"""The official Python SDK as a client that has nothing but the MCP URL: finds the authorization server, registers,
sends the person to the browser, calls a tool. Prints one line of JSON.
"""

import asyncio
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import browser
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata


async def main(url):
    person = Person()
    metadata = OAuthClientMetadata(
        client_name="Python SDK",
        redirect_uris=[person.redirect_uri],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    )
    provider = OAuthClientProvider(url, metadata, Memory(), person.redirect, person.callback)
    async with create_mcp_http_client(auth=provider) as http_client:
        async with Client(streamable_http_client(url, http_client=http_client)) as client:
            tools = await client.list_tools()
            whoami = await client.call_tool("whoami", {})
    assert not whoami.is_error, whoami
    print(json.dumps({"tools": [tool.name for tool in tools.tools], "whoami": whoami.content[0].text}))


class Person:
    """Sits at the browser; and the address where the client waits for the person."""

    def __init__(self):
        class Callback(BaseHTTPRequestHandler):
            def do_GET(self):
                self.server.query = parse_qs(urlsplit(self.path).query)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Callback)
        self.server.timeout = browser.TIMEOUT
        self.redirect_uri = f"http://127.0.0.1:{self.server.server_port}/callback"

    async def redirect(self, url):
        self.browsing = asyncio.create_task(asyncio.to_thread(browser.authorize, url))

    async def callback(self):
        waiting = asyncio.create_task(asyncio.to_thread(self.server.handle_request))
        await self.browsing  # first, so that its reason is what is seen when it fails
        await waiting
        query = {name: values[0] for name, values in self.server.query.items()}
        return AuthorizationCodeResult(code=query["code"], state=query["state"], iss=query.get("iss"))


class Memory(TokenStorage):
    def __init__(self):
        self.tokens = self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
