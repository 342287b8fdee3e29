"""fastmcp's client with `auth="oauth"`, that has nothing but the MCP URL. Prints one line of JSON."""

import asyncio
import json
import os
import sys
import threading
import traceback
import webbrowser

import browser
from fastmcp import Client


async def main(url):
    webbrowser.register("scripted", Scripted, preferred=True)
    async with Client(url, auth="oauth") as client:
        tools = await client.list_tools()
        whoami = await client.call_tool("whoami", {})
        added = await client.call_tool("add", {"a": 2, "b": 3})
    answer = {
        "tools": [tool.name for tool in tools],
        "whoami": whoami.content[0].text,
        "add": added.content[0].text,
    }
    print(json.dumps(answer))


class Scripted(webbrowser.BaseBrowser):
    def open(self, url, new=0, autoraise=True):
        # The client listens at its redirect URI only after this has returned.
        threading.Thread(target=browse, args=[url], daemon=True).start()
        return True


def browse(url):
    try:
        browser.authorize(url)
    except BaseException:
        # Nothing else tells the client, which would wait for minutes.
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
