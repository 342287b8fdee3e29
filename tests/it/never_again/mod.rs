//! Flaws that systems like this one had, one by one, as an attacker would try them here. Their numbers are those of
//! docs/security/cases.md; what other files hold for reasons of their own is listed there as well.

mod bounds;
mod credentials;
mod framing;
mod programs;
mod routing;
mod sharing;

use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, status};
use portcullis::config::{Config, UpstreamAuth};
use portcullis::secret::Secret;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

/// A gateway in front of these upstreams, each of which gets `Bearer upstream-secret`.
async fn in_front_of(authorities: &[&str]) -> Gateway {
    with(authorities, |_| {}).await
}

/// The same with a configuration of one's own.
async fn with(authorities: &[&str], edit: impl Fn(&mut Config) + Send + Sync + 'static) -> Gateway {
    let authorities: Vec<String> = authorities.iter().map(|text| (*text).to_owned()).collect();
    Gateway::with(move |config| {
        crate::visitors::without_limits(config);
        crate::gateway::without_rates(config);
        for authority in &authorities {
            let name = http::header::AUTHORIZATION;
            let value = Secret::new("Bearer upstream-secret".to_owned());
            config.upstream.push(upstream(authority, UpstreamAuth::Header { name, value }));
        }
        edit(config);
    })
    .await
}

/// Sends a head, each line without its end, over a connection of its own: the status of the answer, its head and its body.
async fn ask(port: u16, lines: &[&str]) -> (u16, String, String) {
    let mut caller = Caller::connect(port).await;
    let (head, body) = caller.send(format!("{}\r\n\r\n", lines.join("\r\n"))).await.response().await;
    (status(&head), head, body)
}
