//! How a conversation over Streamable HTTP begins: `server/discover`, or `initialize` and a session.

use super::envelope::{self, SESSION, VERSION};
use super::messages::{Messages, parse};
use super::wire::{Answer, Outgoing, To, Wire};
use super::{CallError, Principal, Resumption, Server};
use crate::error::{Culprit, Fault};
use crate::http::Reuse;
use crate::mcp::era::{Era, LEGACY, MODERN, meta};
use crate::mcp::rpc::{Id, Members, Notification, Request, Response, Rpc, RpcError};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long a server has to say what it is, and to take what wants no answer. Tools may take longer than that.
const AT_ONCE: Duration = Duration::from_secs(30);
/// The most of a refusal's body that is read, in bytes.
const MAX_REFUSAL: usize = 64 * 1024;

/// What was agreed on with a server.
pub(super) struct Session {
    pub(super) server: Arc<Server>,
    /// `Mcp-Session-Id`, where the server has sessions.
    pub(super) id: Option<HeaderValue>,
}

/// An answer that is no answer to the request.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// The JSON-RPC error of its body.
    pub(super) error: Option<RpcError>,
    pub(super) retry_after: Option<Duration>,
}

impl Session {
    /// One that another process began.
    pub(super) fn resumed(before: &Resumption) -> Option<Self> {
        let server = Server {
            era: Era::Legacy,
            version: before.version.clone(),
            capabilities: before.capabilities.clone(),
            info: before.info.clone(),
            instructions: before.instructions.clone(),
        };
        let mut id = HeaderValue::from_str(&before.session).ok()?;
        id.set_sensitive(true);
        Some(Self { server: Arc::new(server), id: Some(id) })
    }

    /// The header fields of a request in this session, besides those that mirror its body.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = plain_headers();
        // The versions before 2025-06-18 do not know it, and servers of theirs ignore it.
        if let Ok(version) = HeaderValue::from_str(&self.server.version) {
            headers.insert(VERSION, version);
        }
        if let Some(id) = &self.id {
            headers.insert(SESSION, id.clone());
        }
        headers
    }

    pub(super) fn is_modern(&self) -> bool {
        self.server.era == Era::Modern
    }
}

/// Asks a server of the modern era what it is.
pub(super) async fn discover(
    wire: &Wire,
    to: To<'_>,
    principal: &Principal,
) -> Result<Result<Value, Refused>, CallError> {
    let mut params = Members::new();
    envelope::modern(&mut params, principal, None);
    let mut headers = plain_headers();
    envelope::mirrors("server/discover", &params, &mut headers);
    let request = Request { id: Id::from(1), method: "server/discover".to_owned(), params };
    let (outcome, _) = ask(wire, to, headers, request).await?;
    Ok(outcome)
}

/// Begins a session.
pub(super) async fn initialize(
    wire: &Wire,
    to: To<'_>,
    principal: &Principal,
    version: &str,
) -> Result<Result<Session, Refused>, CallError> {
    let params = envelope::initialize(principal, version);
    let request = Request { id: Id::from(1), method: "initialize".to_owned(), params };
    let (outcome, id) = ask(wire, to, plain_headers(), request).await?;
    let result = match outcome {
        Ok(result) => result,
        Err(refused) => return Ok(Err(refused)),
    };
    let session = Session { server: Arc::new(initialized(result)?), id };
    let initialized = Notification { method: "notifications/initialized".to_owned(), params: Members::new() };
    let answer = post(wire, to, (session.headers(), Reuse::Repeat), Rpc::Notification(initialized)).await?;
    if answer.streamed.status.is_success() {
        return Ok(Ok(session));
    }
    Ok(Err(Refused::of(answer).await))
}

/// Posts a message that is answered at once; the head of its answer.
pub(super) async fn post(
    wire: &Wire,
    to: To<'_>,
    (headers, reuse): (HeaderMap, Reuse),
    message: Rpc,
) -> Result<Answer, CallError> {
    let out = Outgoing { method: Method::POST, headers, body: to_bytes(message), reuse };
    wire.send(to, &out, wire.limits.response_timeout.min(AT_ONCE)).await
}

/// What a server says about itself in the result of `initialize`.
pub(super) fn initialized(result: Value) -> Result<Server, CallError> {
    let version = result.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
    if !LEGACY.contains(&version) {
        return Err(speaks_nothing(format!("it answered initialize with the version {:?}", shown(version))));
    }
    let mut server = described(&result, Era::Legacy, version);
    server.info = result.get("serverInfo").cloned().unwrap_or_default();
    Ok(server)
}

/// What a server says about itself in the result of `server/discover`; `None` when that is none.
pub(super) fn discovered(result: &Value) -> Option<Server> {
    let versions = result.get("supportedVersions")?.as_array()?;
    versions.iter().any(|version| version == MODERN).then(|| described(result, Era::Modern, MODERN))
}

/// A version of the legacy era that a server offers.
pub(super) fn offered(data: Option<&Value>, member: &str) -> Option<&'static str> {
    let versions = data?.get(member)?.as_array()?;
    LEGACY.into_iter().find(|known| versions.iter().any(|version| version == known))
}

/// There is no version that both speak.
pub(super) fn speaks_nothing(why: impl std::fmt::Display) -> CallError {
    Fault::upstream("the upstream speaks no version of MCP that this gateway speaks", why).into()
}

/// A message as it is sent.
pub(super) fn to_bytes(message: Rpc) -> Bytes {
    message.to_json().to_string().into()
}

/// What a stranger wrote, fit for a line of a log.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

fn described(result: &Value, era: Era, version: &str) -> Server {
    let info = result.get("_meta").and_then(|all| all.get(meta::SERVER_INFO)).cloned();
    Server {
        era,
        version: version.to_owned(),
        capabilities: result.get("capabilities").and_then(Value::as_object).cloned().unwrap_or_default(),
        info: info.unwrap_or_default(),
        instructions: result.get("instructions").and_then(Value::as_str).map(str::to_owned),
    }
}

/// Posts a request, and reads its answer as a whole. What else comes on the way is not for anybody yet.
async fn ask(
    wire: &Wire,
    to: To<'_>,
    headers: HeaderMap,
    request: Request,
) -> Result<(Result<Value, Refused>, Option<HeaderValue>), CallError> {
    let id = request.id.clone();
    let answer = post(wire, to, (headers, Reuse::Repeat), Rpc::Request(request)).await?;
    let mut session = answer.streamed.headers.get(SESSION).cloned();
    session.iter_mut().for_each(|id| id.set_sensitive(true));
    if !answer.streamed.status.is_success() || !(answer.is_json() || answer.is_events()) {
        return Ok((Err(Refused::of(answer).await), session));
    }
    let status = answer.streamed.status;
    let patience = wire.limits.response_timeout.min(AT_ONCE);
    let outcome = tokio::time::timeout(patience, async {
        let mut messages = Messages::of(answer, wire.limits.max_message, patience).await?;
        while let Some(message) = messages.next().await? {
            match message {
                Rpc::Response(Response { id: answered, outcome })
                    if answered.is_none() || answered == Some(id.clone()) =>
                {
                    return Ok(outcome);
                }
                _ => {}
            }
        }
        Err(CallError::from(Fault::upstream("the upstream gave no answer", "its answer ended before the response")))
    });
    let outcome = outcome.await.unwrap_or_else(|_| Err(too_late()))?;
    Ok((outcome.map_err(|error| Refused { status, error: Some(error), retry_after: None }), session))
}

pub(super) fn too_late() -> CallError {
    let text = "the upstream did not answer in time";
    Fault { culprit: Culprit::UpstreamTimeout, public: text.into(), private: text.to_owned() }.into()
}

fn plain_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers
}

impl Refused {
    /// Reads what a refusal says.
    pub(super) async fn of(answer: Answer) -> Self {
        let (status, retry_after) = (answer.streamed.status, answer.retry_after());
        let body = tokio::time::timeout(Duration::from_secs(5), answer.streamed.whole(MAX_REFUSAL)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        let error = match parse(&body).ok().and_then(|mut messages| messages.pop_front()) {
            Some(Rpc::Response(Response { outcome: Err(error), .. })) => Some(error),
            _ => None,
        };
        Self { status, error, retry_after }
    }

    /// Whether only servers of the modern era say so (MCP 2026-07-28, Streamable HTTP, Backward Compatibility).
    pub(super) fn is_modern(&self) -> bool {
        let code = self.error.as_ref().map(|error| error.code);
        matches!(
            code,
            Some(RpcError::HEADER_MISMATCH | RpcError::MISSING_CLIENT_CAPABILITY | RpcError::UNSUPPORTED_VERSION)
        )
    }

    /// Whether the upstream is in trouble, as opposed to not understanding.
    pub(super) fn is_trouble(&self) -> bool {
        matches!(self.status.as_u16(), 429 | 502..=504)
    }
}

impl From<Refused> for CallError {
    fn from(refused: Refused) -> Self {
        match refused.error {
            Some(error) if !matches!(refused.status.as_u16(), 429 | 502..=504) => CallError::Rpc(error),
            error => {
                let said = error.map(|error| format!(": {}", shown(&error.message))).unwrap_or_default();
                let private = format!("it answered {}{said}", refused.status);
                let fault = Fault::upstream("the upstream does not answer as an MCP server", private);
                CallError::Unavailable { fault, retry_after: refused.retry_after }
            }
        }
    }
}
