"""An upstream that the project did not write: a WebSocket server that says everything again, compressed if the caller
can. Prints its port when it is ready, and ends when its standard input does."""

import asyncio
import logging
import sys

from websockets.asyncio.server import serve


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=None, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


# Callers that break the protocol are the point here.
logging.disable()
asyncio.run(main())
