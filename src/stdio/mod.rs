//! MCP servers that are programs of this machine: started, watched and stopped by us, speaking over their standard input and
//! output (MCP, stdio transport). Only the configuration names them, never a request.
