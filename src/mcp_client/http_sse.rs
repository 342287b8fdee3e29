//! HTTP+SSE of 2024-11-05: one stream that first names the address for messages and then carries all that the server says.

use super::channel::{Multiplexer, Out, Task};
use super::messages::{Broken, Messages};
use super::session::{Refused, to_bytes, too_late};
use super::wire::{Outgoing, To, Wire};
use super::{CallError, Principal};
use crate::connect::ConnectionKey;
use crate::error::Fault;
use crate::http::Reuse;
use crate::mcp::rpc::Rpc;
use crate::upstream::Upstream;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use url::Url;

/// How long the stream has to begin with its address.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many messages may wait to be taken.
const QUEUE: usize = 64;

/// Where messages to a server go.
#[derive(Clone)]
pub(super) struct Posts {
    wire: Arc<Wire>,
    upstream: Arc<Upstream>,
    key: ConnectionKey,
    path: Arc<str>,
}

/// Opens the stream and learns the address for messages. Another answer than a stream is given back.
pub(super) async fn open(
    wire: &Arc<Wire>,
    upstream: &Arc<Upstream>,
    principal: &Principal,
    path: &str,
) -> Result<Result<Arc<Multiplexer>, Refused>, CallError> {
    let to = To { upstream, key: &principal.key, path };
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    let out = Outgoing { method: Method::GET, headers, body: Bytes::new(), reuse: Reuse::Repeat };
    let answer = wire.send(to, &out, PATIENCE).await?;
    if !answer.streamed.status.is_success() || !answer.is_events() {
        return Ok(Err(Refused::of(answer).await));
    }
    let limits = &wire.limits;
    let mut messages = Messages::of(answer, limits.max_message, limits.response_timeout).await?;
    let endpoint = tokio::time::timeout(PATIENCE, endpoint_of(&mut messages)).await.map_err(|_| too_late())??;
    let path = message_path(upstream, path, &endpoint)?;
    let key = principal.key.clone();
    let posts = Posts { wire: wire.clone(), upstream: upstream.clone(), key, path: path.into() };
    let (sender, incoming) = mpsc::channel(QUEUE);
    let (ending, ended) = oneshot::channel();
    let reader = Task(tokio::spawn(async move { drop(ending.send(read(messages, sender).await)) }));
    let ended = async { ended.await.unwrap_or_else(|_| lost("its stream ended")) };
    Ok(Ok(Arc::new(Multiplexer::over(Out::Posts(posts), incoming, ended, vec![reader]))))
}

/// Reads the stream to its end; why that came.
async fn read(mut messages: Messages, sender: mpsc::Sender<Bytes>) -> CallError {
    loop {
        match messages.event().await {
            Ok(Some(event)) if event.kind == "message" => {
                if sender.send(event.data.into()).await.is_err() {
                    return lost("nobody reads it");
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return lost("its stream ended"),
            Err(Broken::Lost(error)) => return lost(error),
            Err(broken) => return broken.into(),
        }
    }
}

async fn endpoint_of(messages: &mut Messages) -> Result<String, CallError> {
    while let Some(event) = messages.event().await? {
        if event.kind == "endpoint" {
            return Ok(event.data);
        }
    }
    Err(lost("its stream ended before it named an address for messages"))
}

/// Path and query of the address for messages, which must be one of the upstream's own: the credential goes there.
fn message_path(upstream: &Upstream, path: &str, endpoint: &str) -> Result<String, CallError> {
    let base = Url::parse(&format!("{}{path}", upstream.authority.origin())).map_err(Fault::gateway)?;
    let elsewhere = || {
        let private = format!("{} names an address of somebody else's for messages", upstream.authority);
        CallError::from(Fault::upstream("the upstream's stream is not safe to use", private))
    };
    let address = base.join(endpoint.trim()).map_err(|_| elsewhere())?;
    if address.origin() != base.origin() || !address.username().is_empty() || address.password().is_some() {
        return Err(elsewhere());
    }
    let query = address.query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok(format!("{}{query}", address.path()))
}

fn lost(why: impl std::fmt::Display) -> CallError {
    Fault::upstream("the connection to the upstream was lost", why).into()
}

impl Posts {
    /// Posts a message.
    pub(super) async fn send(&self, message: Rpc) -> Result<(), CallError> {
        let to = To { upstream: &self.upstream, key: &self.key, path: &self.path };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = to_bytes(message);
        let out = Outgoing { method: Method::POST, headers, body, reuse: Reuse::Once };
        let answer = self.wire.send(to, &out, self.wire.limits.response_timeout).await?;
        if answer.streamed.status.is_success() {
            return Ok(());
        }
        Err(Refused::of(answer).await.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp_client::tests::upstream_at;

    #[test]
    fn messages_go_to_the_upstream_itself_alone() {
        let upstream = upstream_at("mcp.example");
        for (endpoint, path) in [
            ("/messages?session=1", "/messages?session=1"),
            ("messages", "/a/messages"),
            ("https://mcp.example/x", "/x"),
            ("//mcp.example/x", "/x"),
            ("?s=1", "/a/sse?s=1"),
        ] {
            assert_eq!(message_path(&upstream, "/a/sse", endpoint).unwrap(), path, "{endpoint}");
        }
        for endpoint in [
            "https://evil.example/x",
            "//evil.example/x",
            "http://mcp.example/x",
            "https://mcp.example:444/x",
            "https://user@mcp.example/x",
            "javascript:alert(1)",
        ] {
            assert!(message_path(&upstream, "/a/sse", endpoint).is_err(), "{endpoint}");
        }
    }
}
