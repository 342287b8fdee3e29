//! Client ID metadata documents (draft-ietf-oauth-client-id-metadata-document): fetched, kept, and served from the last
//! good copy when they cannot be fetched. Some clients' documents answer 403 to data centres, so copies of the best
//! known ones are compiled in.

use super::Issuer;
use super::clients::NoClient;
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::http::{SHORTEST, lifetime};
use crate::oauth::redirect::is_uri_byte;
use crate::oauth::registration::ClientMetadata;
use crate::store::ClientDocument;
use bytes::Bytes;
use http::header::ACCEPT;
use std::time::Duration;
use url::Url;

/// Clients wait ten seconds for us at most, so where there is a copy to fall back on we wait no longer than this.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a copy serves when the document cannot be fetched any more.
const LAST_GOOD: Duration = Duration::from_secs(30 * 24 * 3600);

const PINNED: [(&str, &str); 5] = [
    ("https://claude.ai/oauth/mcp-oauth-client-metadata", include_str!("pinned/claude.json")),
    ("https://claude.ai/oauth/claude-code-client-metadata", include_str!("pinned/claude-code.json")),
    ("https://chatgpt.com/oauth/client.json", include_str!("pinned/chatgpt.json")),
    ("https://chatgpt.com/oauth/codex/client.json", include_str!("pinned/codex.json")),
    ("https://vscode.dev/oauth/client-metadata.json", include_str!("pinned/vscode.json")),
];

/// A URL that can be a `client_id`: https, canonical, with a path, without fragment and user information.
pub(super) struct DocumentUrl<'a> {
    text: &'a str,
    url: Url,
}

impl<'a> DocumentUrl<'a> {
    /// With `allow_private` http to this very machine will do, for development.
    pub(super) fn parse(text: &'a str, allow_private: bool) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("a client_id that is a URL must {why}"));
        let Ok(url) = Url::parse(text) else { return wrong("be a valid URL") };
        let is_loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if url.scheme() != "https" && !(url.scheme() == "http" && allow_private && is_loopback) {
            return wrong("use https");
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return wrong("have neither user information nor a fragment");
        }
        // Dot segments, upper case in the host, a default port: all of them disappear when a URL is parsed.
        if url.as_str() != text || url.path() == "/" {
            return wrong("be in canonical form and have a path");
        }
        // A parser for browsers leaves them in a query; to others they are not part of a URL, or a slash.
        if !text.bytes().all(|byte| is_uri_byte(byte) || byte == b'*') {
            return wrong("have no characters but those of RFC 3986");
        }
        Ok(Self { text, url })
    }

    /// The host for the consent page.
    pub(super) fn host(&self) -> String {
        self.url.host_str().unwrap_or_default().to_owned()
    }
}

/// The client's metadata: a fresh copy, or a new one, or the last good one, or the one that is compiled in.
pub(super) async fn find(issuer: &Issuer, url: &DocumentUrl<'_>) -> Result<ClientMetadata, NoClient> {
    let now = issuer.clock.now();
    let failed = |error: crate::store::StoreError| NoClient::Failed(Fault::from(error));
    let stored = issuer.store.client_document(url.text).await.map_err(failed)?;
    if let Some(fresh) = stored.as_ref().filter(|document| document.fresh_until > now) {
        return parse(&fresh.body, url).map_err(NoClient::Document);
    }
    let last_good = stored
        .filter(|document| now.since(document.fetched_at) < LAST_GOOD)
        .or_else(|| Some(document(url, pinned(url.text)?, now, SHORTEST)));
    let (document, metadata) = match (fetch(issuer, url, last_good.is_some()).await, last_good) {
        (Ok(fetched), _) => fetched,
        (Err(reason), Some(copy)) => {
            tracing::warn!(client = url.text, reason = reason.text(), "using the last good client metadata document");
            let metadata = parse(&copy.body, url).map_err(NoClient::Document)?;
            // Taken for fresh for a while, so that not every request waits for a document that cannot be had.
            (ClientDocument { fresh_until: now.after(SHORTEST), ..copy }, metadata)
        }
        (Err(Trouble::Passing(reason)), None) => return Err(NoClient::Unreachable(reason)),
        (Err(Trouble::Lasting(reason)), None) => return Err(NoClient::Document(reason)),
    };
    issuer.store.put_client_document(&document).await.map_err(failed)?;
    Ok(metadata)
}

enum Trouble {
    Passing(String),
    Lasting(String),
}

impl Trouble {
    fn text(&self) -> &str {
        match self {
            Trouble::Passing(text) | Trouble::Lasting(text) => text,
        }
    }
}

async fn fetch(
    issuer: &Issuer,
    url: &DocumentUrl<'_>,
    hurry: bool,
) -> Result<(ClientDocument, ClientMetadata), Trouble> {
    let request = http::Request::get(url.text)
        .header(ACCEPT, "application/json")
        .body(Bytes::new())
        .map_err(|_| Trouble::Lasting("it is not the address of a document".to_owned()))?;
    let answer = issuer.http.send(request, issuer.allow_private_documents);
    let patience = if hurry { PATIENCE } else { crate::http::HttpClient::TIMEOUT };
    let fetched = match tokio::time::timeout(patience, answer).await {
        Ok(Ok(fetched)) => fetched,
        Ok(Err(error)) => return Err(Trouble::Passing(error.to_string())),
        Err(_) => return Err(Trouble::Passing("it did not answer in time".to_owned())),
    };
    if fetched.status != http::StatusCode::OK {
        return Err(Trouble::Passing(format!("it answered with status {}", fetched.status.as_u16())));
    }
    let body = String::from_utf8(fetched.body.to_vec()).map_err(|_| Trouble::Lasting("it is not text".to_owned()))?;
    let metadata = parse(&body, url).map_err(Trouble::Lasting)?;
    Ok((document(url, body, issuer.clock.now(), lifetime(&fetched.headers)), metadata))
}

fn parse(body: &str, url: &DocumentUrl<'_>) -> Result<ClientMetadata, String> {
    ClientMetadata::from_document(body.as_bytes(), url.text).map_err(|error| error.error_description.into_owned())
}

fn document(url: &DocumentUrl<'_>, body: String, now: Timestamp, fresh_for: Duration) -> ClientDocument {
    ClientDocument { url: url.text.to_owned(), body, fetched_at: now, fresh_until: now.after(fresh_for) }
}

fn pinned(url: &str) -> Option<String> {
    PINNED.iter().find(|(pinned, _)| *pinned == url).map(|(_, body)| (*body).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::grant_type::GrantType;

    #[test]
    fn b36_which_urls_can_be_clients() {
        assert!(DocumentUrl::parse("https://app.example/client.json", false).is_ok());
        assert!(DocumentUrl::parse("http://127.0.0.1:9/client.json", true).is_ok());
        for bad in [
            "http://app.example/client.json",
            "http://127.0.0.1:9/client.json",
            "https://app.example",
            "https://app.example/",
            "https://app.example/client.json?a\\b",
            "https://app.example/client.json?{a}",
            "https://app.example/a/../client.json",
            "https://app.example/%2e%2e/client.json",
            "https://APP.example/client.json",
            "https://app.example:443/client.json",
            "https://u@app.example/client.json",
            "https://app.example/client.json#x",
            "https://",
        ] {
            assert!(DocumentUrl::parse(bad, false).is_err(), "{bad}");
        }
        for bad in ["http://app.example/client.json", "ftp://localhost/client.json", "x://127.0.0.1"] {
            assert!(DocumentUrl::parse(bad, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_documents_that_are_compiled_in_are_good() {
        for (url, body) in PINNED {
            let url = DocumentUrl::parse(url, false).unwrap();
            let metadata = parse(body, &url).unwrap();
            assert!(metadata.allows(GrantType::RefreshToken) && metadata.client_name.is_some(), "{}", url.text);
        }
        let redirects = |url: &str, redirect: &str| {
            let body = pinned(url).unwrap();
            ClientMetadata::from_document(body.as_bytes(), url).unwrap().redirect_uri(redirect).is_some()
        };
        assert!(redirects(PINNED[0].0, "https://claude.ai/api/mcp/auth_callback"));
        assert!(redirects(PINNED[1].0, "http://localhost:54321/callback"));
        assert!(redirects(PINNED[2].0, "https://chatgpt.com/connector_platform_oauth_redirect"));
        assert!(redirects(PINNED[4].0, "http://127.0.0.1:33418"));
    }
}
