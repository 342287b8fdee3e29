"""The official Python SDK at the unified endpoint: signs in, lists everything, carries out the plan of PLAN (see survey.mjs).
Prints one line of JSON. Usage: PLAN=... python_unified.py MCP-URL
"""

import asyncio
import json
import os
import sys

from mcp.client import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import OAuthClientMetadata
from python_sdk import Memory, Person


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
            print(json.dumps(await survey(client, json.loads(os.environ["PLAN"]))))


async def survey(client, plan):
    tools = await everything(client.list_tools, "tools")
    prompts = await everything(client.list_prompts, "prompts")
    resources = await everything(client.list_resources, "resources")
    templates = await everything(client.list_resource_templates, "resource_templates")
    called, read, got = await asyncio.gather(
        asyncio.gather(*(client.call_tool(name, arguments) for name, arguments in plan.get("tools", []))),
        asyncio.gather(*(client.read_resource(uri) for uri in plan.get("resources", []))),
        asyncio.gather(*(client.get_prompt(name, arguments) for name, arguments in plan.get("prompts", []))),
    )
    return {
        "tools": [tool.name for tool in tools],
        "prompts": [prompt.name for prompt in prompts],
        "resources": [str(resource.uri) for resource in resources],
        "templates": [template.uri_template for template in templates],
        "called": [text_of(result.content[0]) for result in called],
        "read": [contents(result.contents[0]) for result in read],
        "got": [text_of(result.messages[0].content) for result in got],
        "protocol": client.protocol_version,
    }


async def everything(list_page, kind):
    found, cursor = [], None
    while True:
        page = await list_page(cursor=cursor)
        found += getattr(page, kind)
        cursor = page.next_cursor
        if cursor is None:
            return found


def text_of(content):
    return getattr(content, "text", content.type)


def contents(first):
    return [str(first.uri), getattr(first, "text", None) or first.blob]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
