"""An MCP server on standard input and output that behaves until it is told otherwise: every tool is a way to go wrong.

It needs nothing but Python, and answers one request after the other.
"""

import json
import os
import signal
import sys
import time

TOOLS = ["pid", "die", "hang", "flood_line", "flood_lines", "flood_stderr", "garbage", "stray"]
MIB = 1 << 20
# More than any gateway should keep.
FLOOD = 192


def main():
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request and "method" in request:
            result = handle(request["method"], request.get("params", {}))
            answer = {"result": result} if result is not None else {"error": {"code": -32601, "message": "Method not found"}}
            say({"jsonrpc": "2.0", "id": request["id"], **answer})


def handle(method, params):
    if method == "initialize":
        info = {"name": "misbehaving", "version": "1.0.0"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "ping":
        return {}
    if method == "tools/list":
        schema = {"type": "object", "properties": {}}
        return {"tools": [{"name": name, "inputSchema": schema} for name in TOOLS]}
    if method == "tools/call":
        return text(globals()[params["name"]]() if params["name"] in TOOLS else "no such tool")
    return None


def pid():
    return str(os.getpid())


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    while True:
        time.sleep(3600)


def flood_line():
    """A message that does not end."""
    for _ in range(FLOOD):
        sys.stdout.write("x" * MIB)
    sys.stdout.write("\n")
    return "flooded"


def flood_lines():
    """Log messages, each of them correct, faster than anybody reads them."""
    params = {"level": "info", "data": "x" * 1000}
    for _ in range(20000):
        say({"jsonrpc": "2.0", "method": "notifications/message", "params": params}, flush=False)
    return "flooded"


def flood_stderr():
    for _ in range(FLOOD * 16):
        sys.stderr.write(("y" * 1023 + "\n") * 64)
    return "flooded"


def garbage():
    """What is no JSON, what is no JSON-RPC, what is no UTF-8."""
    sys.stdout.write("Starting up...\n\n[]\n{}\n17\n{\"jsonrpc\":\"1.0\"}\n")
    sys.stdout.flush()
    sys.stdout.buffer.write(b"\xff\xfe\x00\n")
    sys.stdout.buffer.flush()
    return "that was garbage"


def stray():
    """Answers to questions that nobody asked."""
    for stray_id in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10**6, "1", None]:
        say({"jsonrpc": "2.0", "id": stray_id + 10**7 if isinstance(stray_id, int) else stray_id, "result": text("stray")})
    return "that was astray"


def text(value):
    return {"content": [{"type": "text", "text": value}]}


def say(message, flush=True):
    sys.stdout.write(json.dumps(message) + "\n")
    if flush:
        sys.stdout.flush()


main()
