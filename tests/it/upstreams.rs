//! The devkit's upstream: an MCP server and the authorization server that protects it.

use portcullis::clock::Clock;
use portcullis::devkit::authorization_server::{AuthorizationServer, Options};
use portcullis::devkit::mcp::{McpServer, Protection};
use portcullis::ids::Random;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub struct Notes {
    pub authorization: AuthorizationServer,
    pub mcp: McpServer,
    pub clock: Clock,
}

impl Notes {
    pub async fn start() -> Self {
        Self::with(Duration::from_secs(300)).await
    }

    /// With access tokens that live so long.
    pub async fn with(access_ttl: Duration) -> Self {
        let (clock, random) = (Clock::system(), Random::default());
        let options = Options { access_ttl, ..Options::default() };
        let authorization =
            AuthorizationServer::start(anywhere(), clock.clone(), random.clone(), options).await.unwrap();
        let mcp = McpServer::start(anywhere(), random, Protection::Bearer(authorization.tokens())).await.unwrap();
        Self { authorization, mcp, clock }
    }

    /// `127.0.0.1:<port>`.
    pub fn authority(&self) -> String {
        self.mcp.address().to_string()
    }
}

pub fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}
