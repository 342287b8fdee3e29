//! Pingora as it comes: one upstream, one header swapped, nothing counted, nothing logged, nobody authenticated.
//!
//! `bare-pingora LISTEN UPSTREAM [h2] [CERTIFICATE KEY]`, addresses as `127.0.0.1:8080`. With `h2` the upstream is spoken to with
//! TLS and HTTP/2; with a certificate, so are callers that want it.

use async_trait::async_trait;
use pingora::http::RequestHeader;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::{HttpPeer, Result, http_proxy_service};
use pingora::proxy::{ProxyHttp, Session};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Where everything goes.
struct Bare {
    upstream: SocketAddr,
    /// Whether the upstream is spoken to with TLS and HTTP/2.
    h2: bool,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.upstream, self.h2, "localhost".to_owned());
        peer.options.connection_timeout = Some(Duration::from_secs(3));
        peer.options.idle_timeout = Some(Duration::from_secs(60));
        if self.h2 {
            peer.options.verify_cert = false;
            peer.options.set_http_version(2, 2);
            peer.options.max_h2_streams = 100;
        }
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(&self, _: &mut Session, head: &mut RequestHeader, (): &mut ()) -> Result<()> {
        head.insert_header("authorization", "Bearer upstream")
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}\nusage: bare-pingora LISTEN UPSTREAM [h2] [CERTIFICATE KEY]");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let [listen, upstream, rest @ ..] = arguments else { return Err("two addresses are needed".into()) };
    let (h2, files) = match rest {
        [first, rest @ ..] if first == "h2" => (true, rest),
        _ => (false, rest),
    };
    let configuration = ServerConf {
        upstream_keepalive_pool_size: 1024,
        // It ends when it is told to, instead of in five minutes.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { upstream: upstream.parse()?, h2 });
    match files {
        [certificate, key] => {
            let mut tls = TlsSettings::intermediate(certificate, key)?;
            tls.enable_h2();
            service.add_tls_with_settings(listen, None, tls);
        }
        _ => service.add_tcp(listen),
    }
    server.add_service(service);
    server.run_forever()
}
