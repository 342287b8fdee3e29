"""A program without a person, by the official Python SDK: client_credentials with a secret, or with a signed assertion where
there is a key. Usage: CLIENT_ID=… CLIENT_SECRET=…|CLIENT_KEY=… machine.py MCP-URL
"""

import asyncio
import json
import os
import sys
from urllib.parse import urlsplit

import localhost  # noqa: F401
from mcp.client import Client
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


class Memory:
    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


def provider(url, memory):
    issuer = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    client_id, key = os.environ["CLIENT_ID"], os.environ.get("CLIENT_KEY")
    if not key:
        secret = os.environ["CLIENT_SECRET"]
        return ClientCredentialsOAuthProvider(url, memory, client_id, secret, issuer=issuer)
    signed = SignedJWTParameters(issuer=client_id, subject=client_id, signing_key=key, signing_algorithm="ES256")
    return PrivateKeyJWTOAuthProvider(url, memory, client_id, signed.create_assertion_provider(), issuer=issuer)


async def main(url):
    memory = Memory()
    async with create_mcp_http_client(auth=provider(url, memory)) as http_client:
        async with Client(streamable_http_client(url, http_client=http_client)) as client:
            whoami = await client.call_tool("whoami", {})
    assert not whoami.is_error, whoami
    tokens = memory.tokens
    told = {"whoami": whoami.content[0].text, "token": tokens.access_token, "refresh": tokens.refresh_token}
    print(json.dumps(told))


asyncio.run(main(sys.argv[1]))
