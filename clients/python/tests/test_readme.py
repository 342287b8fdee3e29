"""The example of the README, as it stands there."""

from __future__ import annotations

import os
import re
import unittest
from pathlib import Path
from unittest import mock

import fastmcp
import httpx
from mcp.client import Client

from broker import KEY, TOKEN, Broker, granted, unconnected

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


class Readme(unittest.IsolatedAsyncioTestCase):
    async def test_the_example_of_ten_lines(self) -> None:
        example = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
        self.assertLessEqual(sum(1 for line in example.splitlines() if line), 10)

        async def github(client: httpx.AsyncClient, url: str, *, params: dict[str, str]) -> httpx.Response:
            return httpx.Response(200, text=f"{url} {params['q']} {client.headers['authorization']}")

        async with Broker(granted(), unconnected()) as broker:
            environment = {"PORTCULLIS_URL": broker.url, "PORTCULLIS_API_KEY": KEY}
            alice = mock.patch("portcullis_client._caller._headers", lambda _: {"x-user-name": "alice%40home"})
            with mock.patch.dict(os.environ, environment), mock.patch("fastmcp.FastMCP.run") as run, alice:
                module: dict[str, object] = {}
                exec(compile(example, "README.md", "exec"), module)
                run.assert_called_once_with("http")
                server = module["mcp"]
                assert isinstance(server, fastmcp.FastMCP)
                with mock.patch("httpx.AsyncClient.get", github):
                    async with Client(server._mcp_server) as session:
                        result = await session.call_tool("find_issues", {"query": "notes"})
        text = result.content[0].text
        self.assertEqual(text, f"https://api.github.com/search/issues notes Bearer {TOKEN}")
        self.assertEqual(broker.asked[0].body, {"service": "github", "user_id": "alice@home", "scope": "repo"})


if __name__ == "__main__":
    unittest.main()
