//! The first half: the upstream itself. Its challenge, and its protected resource metadata (RFC 9728).

use super::Search;
use crate::error::Fault;
use crate::oauth::challenge::BearerChallenge;
use crate::oauth::metadata::ProtectedResource;
use crate::paths;
use crate::providers::Challenges;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use url::Url;

/// Where MCP servers usually are, for an upstream of which only the host is known.
const USUAL_PATHS: [&str; 3] = ["/mcp", "/", "/sse"];

/// The opening of every MCP session before 2026-07-28; later servers refuse it, but not before authorization.
const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"#,
    r#""clientInfo":{"name":"portcullis","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}}}"#
);

const LIST_TOOLS: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;

/// Whoever asks for a token before anything is called asks before it looks what is called.
const CALL_NOTHING: &str = r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"portcullis-asks-for-authorization","arguments":{}}}"#;

/// The same in the revision 2026-07-28, where every request is complete in itself.
const LIST_TOOLS_STATELESS: &str = concat!(
    r#"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"_meta":{"#,
    r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"#,
    r#""io.modelcontextprotocol/clientInfo":{"name":"portcullis","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}}}}"#
);

const SESSION: &str = "mcp-session-id";

/// A request of somebody without a token.
#[derive(Clone, Copy)]
enum Knock<'a> {
    /// Opens a session of the revisions up to 2025-11-25.
    Initialize,
    /// Lists the tools in the session that was opened, which may have an id.
    InSession(Option<&'a HeaderValue>),
    /// Lists the tools as 2026-07-28 does.
    Stateless,
    /// Calls a tool that there is not.
    Call,
    /// Opens the stream of 2024-11-05.
    Stream,
}

/// What the upstream answered to somebody without a token.
pub(super) struct Probe {
    /// The path that was asked.
    path: String,
    /// Whether it asked for authorization.
    pub(super) challenged: bool,
    /// In which words.
    pub(super) challenge: Option<BearerChallenge>,
}

impl Search<'_> {
    /// Knocks without a token, as a client of Streamable HTTP and then as one of the older transport.
    pub(super) async fn probe(&self) -> Result<Probe, Fault> {
        let paths = self.path.map_or_else(|| self.usual_paths(), |path| vec![path]);
        let mut last = StatusCode::NOT_FOUND;
        for path in paths {
            for first in [Knock::Initialize, Knock::Stream] {
                let (status, headers) = self.knock(first, path).await?;
                if let Some(probe) = challenge_in(path, status, &headers) {
                    return Ok(probe);
                }
                // Some let everybody say hello and ask for a token at the first question.
                let second = match first {
                    Knock::Initialize if status.is_success() => Some(Knock::InSession(headers.get(SESSION))),
                    Knock::Initialize if status == StatusCode::BAD_REQUEST => Some(Knock::Stateless),
                    _ => None,
                };
                let mut accepted = status.is_success();
                if let Some(second) = second
                    && let Ok((status, headers)) = self.knock(second, path).await
                {
                    if let Some(probe) = challenge_in(path, status, &headers) {
                        return Ok(probe);
                    }
                    accepted |= status.is_success();
                }
                if accepted && self.asks_on_calls() {
                    let (status, headers) = self.knock(Knock::Call, path).await?;
                    if let Some(probe) = challenge_in(path, status, &headers) {
                        return Ok(probe);
                    }
                }
                if accepted {
                    return Ok(Probe { path: path.to_owned(), challenged: false, challenge: None });
                }
                last = status;
            }
        }
        self.judge_silence(last)
    }

    /// Whether it is known to let everybody look and to ask whoever calls something.
    fn asks_on_calls(&self) -> bool {
        self.provider.is_some_and(|provider| provider.challenges == Challenges::OnCalls)
    }

    /// Where the endpoint may be, the likeliest first.
    fn usual_paths(&self) -> Vec<&str> {
        let known = self.provider.and_then(|provider| provider.path.as_deref());
        let others = USUAL_PATHS.into_iter().filter(|path| Some(*path) != known);
        known.into_iter().chain(others).collect()
    }

    /// The protected resource metadata and its address: where the challenge says, below the path, at the root.
    pub(super) async fn protected_resource(&self, probe: &Probe) -> Result<Option<(String, ProtectedResource)>, Fault> {
        let pointed = probe.challenge.as_ref().and_then(|challenge| challenge.resource_metadata.as_ref());
        if let Some(url) = pointed.or_else(|| self.hint.as_ref()?.resource_metadata.as_ref()) {
            match self.json(url).await {
                Ok(Some(document)) => {
                    if let Some(found) = self.checked(url, document)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None) => {}
                Err(fault) => tracing::debug!(%url, %fault, "the challenge points to metadata that cannot be had"),
            }
        }
        let origin = self.upstream.authority.origin();
        let mut candidates = vec![format!("{origin}{}", paths::inserted(paths::PROTECTED_RESOURCE, &probe.path))];
        candidates.push(format!("{origin}{}", paths::PROTECTED_RESOURCE));
        candidates.dedup();
        for url in candidates {
            let document = match self.json(&url).await {
                Ok(document) => document,
                // One that asks for nothing need not be able to describe itself.
                Err(fault) if !probe.challenged => {
                    tracing::debug!(%url, %fault, "no metadata");
                    None
                }
                Err(fault) => return Err(fault),
            };
            if let Some(found) = document.map(|document| self.checked(&url, document)).transpose()?.flatten() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn knock(&self, knock: Knock<'_>, path: &str) -> Result<(StatusCode, HeaderMap), Fault> {
        let url = format!("{}{path}", self.upstream.authority.origin());
        let post = |revision: &str| {
            Request::post(&url)
                .header(ACCEPT, "application/json, text/event-stream")
                .header(CONTENT_TYPE, "application/json")
                .header("mcp-protocol-version", revision)
        };
        let (request, body) = match knock {
            Knock::Initialize => (post("2025-06-18"), INITIALIZE),
            Knock::InSession(None) => (post("2025-06-18"), LIST_TOOLS),
            Knock::InSession(Some(session)) => (post("2025-06-18").header(SESSION, session), LIST_TOOLS),
            Knock::Stateless => (post("2026-07-28").header("mcp-method", "tools/list"), LIST_TOOLS_STATELESS),
            Knock::Call => (post("2025-06-18"), CALL_NOTHING),
            Knock::Stream => (Request::get(&url).header(ACCEPT, "text/event-stream"), ""),
        };
        let request = request.body(Bytes::from_static(body.as_bytes()));
        let request = request.map_err(|error| Fault::caller(format!("the path is not usable: {error}")))?;
        let answer = self.http.send_for_head(request, self.upstream.allow_private).await?;
        Ok((answer.status, answer.headers))
    }

    /// Neither asked for a token nor took the request.
    fn judge_silence(&self, status: StatusCode) -> Result<Probe, Fault> {
        let name = &self.upstream.name;
        let told = |text: String| Err(Fault::upstream(text.clone(), text));
        if status.is_server_error() {
            return told(format!("{name} answered {status}: it is in trouble, try again later"));
        }
        // The metadata may still be there, for a server that is strict about everything else. Whether anybody lives at
        // this path then shows when it is used.
        let path = self.path.unwrap_or("/").to_owned();
        Ok(Probe { path, challenged: false, challenge: None })
    }

    /// `None` for a document of something else than MCP authorization.
    ///
    /// RFC 9728 §3.3 wants `resource` to be the URL that was asked; a prefix of it within the origin is what servers
    /// with several endpoints state, and nothing else is believed (security case B 62).
    fn checked(&self, url: &str, document: ProtectedResource) -> Result<Option<(String, ProtectedResource)>, Fault> {
        if document.authorization_servers.is_empty() {
            return Ok(None);
        }
        let endpoint = format!("{}{}", self.upstream.authority.origin(), self.path.unwrap_or_default());
        if covers(&document.resource, &endpoint, self.path.is_some()) {
            return Ok(Some((url.to_owned(), document)));
        }
        let said: String = document.resource.chars().filter(|c| !c.is_control()).take(200).collect();
        Err(Fault::upstream(
            format!(
                "{} describes itself as another server (its metadata says \"{said}\" instead of {endpoint}), so it cannot \
                 be trusted with a token. If the address is right, its operator must correct the metadata.",
                self.upstream.name
            ),
            format_args!("{url}: resource is {said:?} instead of {endpoint}"),
        ))
    }
}

/// Whether `resource` is the endpoint's origin and, when the path is known, its path or the beginning of it.
fn covers(resource: &str, endpoint: &str, path_known: bool) -> bool {
    let (Ok(resource), Ok(endpoint)) = (Url::parse(resource), Url::parse(endpoint)) else { return false };
    let prefix = resource.path().trim_end_matches('/');
    let below = endpoint.path().strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    resource.origin() == endpoint.origin() && resource.fragment().is_none() && (below || !path_known)
}

/// What an answer says about authorization, if it asks for any.
fn challenge_in(path: &str, status: StatusCode, headers: &HeaderMap) -> Option<Probe> {
    let challenge = challenge_of(headers);
    let challenged = status == StatusCode::UNAUTHORIZED || (status == StatusCode::FORBIDDEN && challenge.is_some());
    challenged.then(|| Probe { path: path.to_owned(), challenged, challenge })
}

fn challenge_of(headers: &HeaderMap) -> Option<BearerChallenge> {
    headers.get_all(WWW_AUTHENTICATE).iter().find_map(|value| BearerChallenge::parse(value.to_str().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_401_asks_for_authorization_and_a_403_that_says_how() {
        let asks = |status: StatusCode, challenge: Option<&'static str>| {
            let fields = challenge.map(|challenge| (WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
            let probe = challenge_in("/mcp", status, &fields.into_iter().collect());
            probe.map(|probe| (probe.challenged, probe.challenge.is_some()))
        };
        const BEARER: Option<&str> = Some("Bearer scope=\"read\"");
        assert_eq!(asks(StatusCode::UNAUTHORIZED, BEARER), Some((true, true)));
        assert_eq!(asks(StatusCode::UNAUTHORIZED, None), Some((true, false)));
        assert_eq!(asks(StatusCode::FORBIDDEN, BEARER), Some((true, true)));
        assert_eq!(asks(StatusCode::FORBIDDEN, None), None);
        assert_eq!(asks(StatusCode::OK, BEARER), None);
        assert_eq!(asks(StatusCode::NOT_FOUND, None), None);
    }

    #[test]
    fn b62_a_resource_is_the_endpoint_or_its_beginning() {
        let endpoint = "https://mcp.example/v2/mcp";
        for good in [
            "https://mcp.example",
            "https://mcp.example/",
            "https://mcp.example/v2",
            "https://mcp.example/v2/",
            "https://mcp.example/v2/mcp",
            "https://mcp.example:443/v2/mcp",
            "https://MCP.example/v2/mcp?x=y",
        ] {
            assert!(covers(good, endpoint, true), "{good}");
        }
        for lie in [
            "",
            "mcp.example",
            "http://mcp.example/v2/mcp",
            "https://mcp.example:8443/v2/mcp",
            "https://evil.example/v2/mcp",
            "https://mcp.example.evil/",
            "https://mcp.example/v2/m",
            "https://mcp.example/v2/mcp/more",
            "https://mcp.example/v2/mcp#x",
        ] {
            assert!(!covers(lie, endpoint, true), "{lie}");
        }
        assert!(covers("https://mcp.example/anything", "https://mcp.example", false));
        assert!(!covers("https://evil.example/", "https://mcp.example", false));
    }
}
