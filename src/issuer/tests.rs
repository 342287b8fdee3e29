//! Handlers, asked over their routers.
