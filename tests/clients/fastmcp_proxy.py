"""A fastmcp proxy as others run it, for the benchmark. Usage: fastmcp_proxy.py PORT URL | PORT COMMAND ARGUMENT..."""

import sys

from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from fastmcp.server import create_proxy

port, first, *rest = sys.argv[1:]
transport = StreamableHttpTransport(first) if first.startswith("http") else StdioTransport(first, rest)
create_proxy(transport).run(transport="http", host="127.0.0.1", port=int(port), show_banner=False, log_level="ERROR")
