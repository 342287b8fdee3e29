"""`require_auth` in FastMCP and in the official SDK, called by the official SDK's client in both protocol eras."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

import fastmcp
import mcp.server.mcpserver
from mcp import MCPError
from mcp.client import Client
from mcp_types import ElicitRequestURLParams, ElicitResult

from broker import TOKEN, Broker, granted, http, unconnected
from portcullis_client import AuthClient, AuthorizationRequired, Caller, ServiceToken, current_token, require_auth

LINK = "https://gw.example/auth/google?link=1"

Server = Any
"""An MCPServer or a FastMCP."""


def official() -> Server:
    return mcp.server.mcpserver.MCPServer("files")


def fast() -> Server:
    return fastmcp.FastMCP("files")


def files(server: Server, client: AuthClient, **options: Any) -> Server:
    """The server with a tool that tells which token it got."""

    async def list_files(folder: str, token: ServiceToken, limit: int = 3) -> str:
        """Lists files."""
        assert current_token("google") is token
        return f"{folder} {limit} {token.access_token}"

    guarded = require_auth(client, provider="google", **{"user_id": "alice", "patience": 0.1, **options})(list_files)
    server.tool()(guarded)
    return server


class Person:
    """Sits at the MCP client."""

    def __init__(self, action: str = "accept") -> None:
        self.action = action
        self.asked: list[ElicitRequestURLParams] = []

    async def __call__(self, _context: object, params: Any) -> ElicitResult:
        self.asked.append(params)
        return ElicitResult(action=self.action)


def connect(server: Server, mode: str, person: Person | None = None) -> Client:
    inner = server._mcp_server if isinstance(server, fastmcp.FastMCP) else server
    return Client(inner, mode=mode, elicitation_callback=person)


class Guarded(unittest.IsolatedAsyncioTestCase):
    async def everywhere(self, test: Callable[[Callable[[], Server], str], Any]) -> None:
        for make in (official, fast):
            for mode in ("legacy", "2026-07-28"):
                with self.subTest(server=make.__name__, mode=mode):
                    # Nothing is really waited for.
                    with mock.patch("portcullis_client._guard.asyncio.sleep", mock.AsyncMock()):
                        await test(make, mode)

    async def test_the_tool_gets_the_token_and_its_schema_does_not_show_it(self) -> None:
        async def test(make: Callable[[], Server], mode: str) -> None:
            async with Broker(granted()) as broker, broker.client() as client:
                async with connect(files(make(), client, scopes=["drive"]), mode) as session:
                    tool = (await session.list_tools()).tools[0]
                    result = await session.call_tool("list_files", {"folder": "/"})
            self.assertEqual((tool.name, tool.description), ("list_files", "Lists files."))
            self.assertEqual(set(tool.input_schema["properties"]), {"folder", "limit"})
            self.assertEqual(tool.input_schema["required"], ["folder"])
            self.assertEqual(result.content[0].text, f"/ 3 {TOKEN}")
            self.assertEqual(broker.asked[0].body, {"service": "google", "user_id": "alice", "scope": "drive"})

        await self.everywhere(test)

    async def test_a_client_that_opens_no_links_gets_it_as_text(self) -> None:
        async def test(make: Callable[[], Server], mode: str) -> None:
            async with Broker(unconnected(LINK), granted()) as broker, broker.client() as client:
                async with connect(files(make(), client), mode) as session:
                    refused = await session.call_tool("list_files", {"folder": "/"})
                    again = await session.call_tool("list_files", {"folder": "/"})
            self.assertTrue(refused.is_error)
            self.assertIn(LINK, refused.content[0].text)
            self.assertIn("google is not connected for alice", refused.content[0].text)
            self.assertEqual(again.content[0].text, f"/ 3 {TOKEN}", "the same call, once the person has connected")

        await self.everywhere(test)

    async def test_a_client_that_opens_links_is_asked_and_the_call_goes_on(self) -> None:
        async def test(make: Callable[[], Server], mode: str) -> None:
            person = Person()
            answers = [unconnected(LINK), unconnected(LINK), granted()]
            async with Broker(*answers) as broker, broker.client() as client:
                async with connect(files(make(), client, patience=60), mode, person) as session:
                    result = await session.call_tool("list_files", {"folder": "/"})
            self.assertEqual(result.content[0].text, f"/ 3 {TOKEN}")
            self.assertEqual([(asked.mode, asked.url) for asked in person.asked], [("url", LINK)])
            self.assertNotIn(LINK, person.asked[0].message)
            self.assertEqual(person.asked[0].elicitation_id is not None, mode == "legacy")

        await self.everywhere(test)

    async def test_a_person_who_is_slow_or_declines_ends_the_call_with_a_text(self) -> None:
        async def test(make: Callable[[], Server], mode: str) -> None:
            for action, told in [("accept", LINK), ("decline", "did not want"), ("cancel", "did not want")]:
                person = Person(action)
                async with Broker(unconnected(LINK)) as broker, broker.client() as client:
                    async with connect(files(make(), client), mode, person) as session:
                        result = await session.call_tool("list_files", {"folder": "/"})
                self.assertTrue(result.is_error)
                self.assertIn(told, result.content[0].text)
                self.assertEqual(len(person.asked), 1)

        await self.everywhere(test)

    async def test_where_a_server_cannot_ask_the_official_sdk_answers_with_the_error_that_asks(self) -> None:
        deaf = mock.patch("mcp.server.session.ServerSession.can_send_request", False)
        async with Broker(unconnected(LINK)) as broker, broker.client() as client:
            async with connect(files(official(), client), "legacy", Person()) as session:
                with deaf, self.assertRaises(MCPError) as raised:
                    await session.call_tool("list_files", {"folder": "/"})
            self.assertEqual(raised.exception.error.code, -32042)
            self.assertEqual(raised.exception.error.data["elicitations"][0]["url"], LINK)
            async with connect(files(fast(), client), "legacy", Person()) as session:
                with deaf:
                    result = await session.call_tool("list_files", {"folder": "/"})
            self.assertIn(LINK, result.content[0].text, "FastMCP would make a text of that error, without the link")

    async def test_other_trouble_is_a_text_that_says_the_fix(self) -> None:
        async def test(make: Callable[[], Server], mode: str) -> None:
            for answer, told in [(http(403, {}), "--service google"), (http(502, {}, Retry_After=9), "9 seconds")]:
                async with Broker(answer) as broker, broker.client() as client:
                    async with connect(files(make(), client), mode, Person()) as session:
                        result = await session.call_tool("list_files", {"folder": "/"})
                self.assertTrue(result.is_error)
                self.assertIn(told, result.content[0].text)

        await self.everywhere(test)

    async def test_nobody_signed_in_is_nobody(self) -> None:
        async def test(make: Callable[[], Server], mode: str) -> None:
            for user_id in (None, lambda caller: caller.claims.get("sub"), lambda caller: ""):
                async with Broker(granted()) as broker, broker.client() as client:
                    async with connect(files(make(), client, user_id=user_id), mode) as session:
                        result = await session.call_tool("list_files", {"folder": "/"})
                self.assertIn("not known who calls", result.content[0].text)
                self.assertEqual(broker.asked, [])

        await self.everywhere(test)

    async def test_the_model_cannot_give_the_token_or_the_context(self) -> None:
        async def test(make: Callable[[], Server], mode: str) -> None:
            async with Broker(granted()) as broker, broker.client() as client:
                async with connect(files(make(), client), mode) as session:
                    given = {"folder": "/", "token": "mine", "portcullis_context": "mine"}
                    result = await session.call_tool("list_files", given)
            # FastMCP refuses arguments that it does not know, the official SDK drops them.
            self.assertTrue(result.is_error or result.content[0].text == f"/ 3 {TOKEN}", result)
            self.assertEqual(result.is_error, isinstance(make(), fastmcp.FastMCP))

        await self.everywhere(test)

    async def test_a_function_may_say_who_it_is(self) -> None:
        seen: list[Caller] = []

        async def who(caller: Caller) -> str:
            seen.append(caller)
            return "bob"

        async def test(make: Callable[[], Server], mode: str) -> None:
            async with Broker(granted()) as broker, broker.client() as client:
                async with connect(files(make(), client, user_id=who), mode) as session:
                    await session.call_tool("list_files", {"folder": "/"})
            self.assertEqual(broker.asked[0].body["user_id"], "bob")
            self.assertEqual(type(seen[-1].context).__name__, "Context")

        await self.everywhere(test)


class Shapes(unittest.IsolatedAsyncioTestCase):
    async def test_a_tool_with_the_sdks_own_context(self) -> None:
        async with Broker(granted()) as broker, broker.client() as client:
            one, two = official(), fast()

            @one.tool()
            @require_auth(client, provider="google", user_id="alice")
            async def mine(token: ServiceToken, ctx: mcp.server.mcpserver.Context) -> str:
                return f"{token.source} {ctx.protocol_version}"

            @two.tool
            @require_auth(client, provider="google", user_id="alice")
            async def yours(token: ServiceToken, ctx: fastmcp.Context) -> str:
                return f"{token.source} {ctx.request_id is not None}"

            async with connect(one, "2026-07-28") as session:
                result = await session.call_tool("mine", {})
                self.assertEqual(result.content[0].text, "oauth 2026-07-28")
            async with connect(two, "2026-07-28") as session:
                self.assertEqual((await session.call_tool("yours", {})).content[0].text, "oauth True")

    async def test_two_providers_and_a_tool_that_blocks(self) -> None:
        for make in (official, fast):
            async with Broker(granted()) as broker, broker.client() as client:
                server = make()

                @server.tool()
                @require_auth(client, provider="github", user_id="alice")
                @require_auth(client, provider="google", user_id="alice")
                def copy(source: ServiceToken, target: ServiceToken) -> str:
                    assert current_token("google") is source and current_token("github") is target
                    return f"{source.service} {target.service}"

                async with connect(server, "legacy") as session:
                    result = await session.call_tool("copy", {})
                self.assertEqual(result.content[0].text, "google github", make.__name__)

    async def test_outside_of_mcp_the_error_is_the_callers(self) -> None:
        async with Broker(unconnected(LINK), granted()) as broker, broker.client() as client:

            @require_auth(client, provider="google", user_id="alice")
            async def tool(token: ServiceToken) -> str:
                return token.access_token

            with self.assertRaises(AuthorizationRequired):
                await tool()
            self.assertEqual(await tool(), TOKEN)
        with self.assertRaises(LookupError):
            current_token("google")


if __name__ == "__main__":
    unittest.main()
