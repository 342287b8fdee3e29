//! `/encode`: what an upstream's address becomes here, for programs and for people.

use super::clients::commands;
use crate::dashboard::failure::Failure;
use crate::dashboard::{Dashboard, rows};
use crate::factors::QrImage;
use crate::hostname::{Account, Encoded, InvalidAuthority, Label, Site, Target, UpstreamAddress, short_name};
use crate::page::{self, EncodedPage};
use crate::session::SignedIn;
use crate::upstream::Upstream;
use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use std::sync::Arc;

/// Why something has no address here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::dashboard) enum NoAddress {
    #[error("{0}")]
    Authority(#[from] InvalidAuthority),
    #[error("the path may have letters, digits and /._~%:@+=,- only")]
    Path,
    #[error("this is the gateway's own name: give the domain of an MCP server")]
    Own,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct EncodeQuery {
    domain: String,
    path: String,
}

/// `GET /encode`
pub(in crate::dashboard) async fn encode(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Query(query): Query<EncodeQuery>,
) -> Result<Response, Failure> {
    let address = parse(&query.domain, &query.path, &dashboard.site).and_then(|address| {
        address.authority.clone().of_network()?;
        Ok(address)
    });
    let encoded = address.map(|address| {
        let known = dashboard.known(&address);
        let path = known.as_ref().and_then(|upstream| upstream.path.clone()).or_else(|| {
            let provider = dashboard.connections.providers().for_host(address.authority.host())?;
            provider.path.clone()
        });
        let encoded = encode_known(&address, (known.as_deref(), path.as_deref()), &dashboard.site);
        (address, encoded)
    });
    if wants_json(&headers) {
        return Ok(match encoded {
            Ok((_, encoded)) => Json(encoded).into_response(),
            Err(error) => problem(&error),
        });
    }
    let person = dashboard.sessions.find(&headers).await?;
    Ok(encoded_page(&query.domain, encoded, person.as_ref()))
}

/// Parses what a person typed, and refuses what can have no address here.
pub(in crate::dashboard) fn parse(domain: &str, path: &str, site: &Site) -> Result<UpstreamAddress, NoAddress> {
    let mut address: UpstreamAddress = domain.parse()?;
    if !path.is_empty() {
        address.path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    }
    // The path ends up in commands that people paste into a shell, and a link to this page can come from anybody.
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"/._~%:@+=,-".contains(&byte);
    if !address.path.bytes().all(harmless) {
        return Err(NoAddress::Path);
    }
    if site.is_own(&address.authority) {
        return Err(NoAddress::Own);
    }
    Ok(address)
}

/// `/oauth/start` for an upstream.
pub(in crate::dashboard) fn start_address(authority: &str, account: &str, renew: bool) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("server", authority);
    if !account.is_empty() {
        query.append_pair("account", account);
    }
    if renew {
        query.append_pair("renew", "true");
    }
    format!("/oauth/start?{}", query.finish())
}

/// The label under which the registry knows an authority, also one that is too long to be written as a label.
pub(in crate::dashboard) fn label_of(authority: crate::hostname::Authority, account: Option<Account>) -> Label {
    Label { account, target: Target::Encoded(authority) }
}

impl Dashboard {
    fn known(&self, address: &UpstreamAddress) -> Option<Arc<Upstream>> {
        self.registry.all().into_iter().find(|upstream| upstream.authority == address.authority)
    }
}

/// With the path of the endpoint, where that is known, and with the alias that the configuration or an administrator gave.
fn encode_known(address: &UpstreamAddress, (known, path): (Option<&Upstream>, Option<&str>), site: &Site) -> Encoded {
    let encoded = Encoded::new(address, path, Some(site));
    match known.and_then(|upstream| upstream.alias.as_deref()).map(Label::parse) {
        Some(Ok(alias)) => encoded.with_alias(&alias, (address, path), site),
        _ => encoded,
    }
}

fn encoded_page(
    typed: &str,
    encoded: Result<(UpstreamAddress, Encoded), NoAddress>,
    person: Option<&SignedIn>,
) -> Response {
    let account = person.map(rows::account);
    match &encoded {
        Ok((address, encoded)) => page::encoded(&EncodedPage {
            status: StatusCode::OK,
            connect: account.is_some().then(|| start_address(&server_of(address), "", false)),
            account,
            server: &server_of(address),
            qr: encoded.url.as_deref().and_then(QrImage::of),
            typed,
            error: None,
            domain: &encoded.domain,
            url: encoded.url.as_deref(),
            alias: encoded.alias.as_deref(),
            commands: encoded.url.iter().flat_map(|url| commands(short_name(&address.authority), url)).collect(),
        }),
        Err(error) => page::encoded(&EncodedPage {
            status: StatusCode::BAD_REQUEST,
            account,
            typed,
            error: Some(sentence(&error.to_string())),
            domain: "",
            url: None,
            alias: None,
            commands: Vec::new(),
            connect: None,
            server: "",
            qr: None,
        }),
    }
}

/// Where the server is, as our other pages take it.
fn server_of(address: &UpstreamAddress) -> String {
    let path = if address.path == "/" { "" } else { &address.path };
    format!("{}{path}", address.authority)
}

/// An error's text as a sentence of a page.
pub(in crate::dashboard) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), characters.as_str()))
}

fn wants_json(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")))
}

/// RFC 9457.
fn problem(error: &NoAddress) -> Response {
    let status = StatusCode::BAD_REQUEST;
    let body = serde_json::json!({
        "type": "about:blank",
        "title": "Bad Request",
        "status": status.as_u16(),
        "detail": error.to_string(),
    });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostname::Scheme;

    fn site() -> Site {
        Site::new("gw.example", Scheme::Https, 443)
    }

    #[test]
    fn the_path_is_checked_because_people_paste_it() {
        let path = |domain: &str, path: &str| parse(domain, path, &site()).map(|address| address.path);
        assert_eq!(path("mcp.example", "v1/mcp").as_deref(), Ok("/v1/mcp"));
        assert_eq!(path("https://mcp.example/sse", "").as_deref(), Ok("/sse"));
        for bad in ["/;reboot", "/$(id)", "/`id`", "/a b", "/'", "/\"", "/a&b", "/a|b", "/<b>", "/ü", "/\n"] {
            assert_eq!(path("mcp.example", bad), Err(NoAddress::Path), "{bad:?}");
            assert!(path(&format!("mcp.example{bad}x"), "").is_err() || bad == "/\n", "{bad:?}");
        }
    }

    #[test]
    fn our_own_names_have_no_address() {
        for own in ["gw.example", "x.gw.example", "GW.example:443"] {
            assert_eq!(parse(own, "", &site()), Err(NoAddress::Own), "{own}");
        }
        assert_eq!(parse("", "", &site()), Err(NoAddress::Authority(InvalidAuthority::Empty)));
    }

    #[test]
    fn programs_ask_for_json() {
        let accept = |value: &'static str| {
            wants_json(&HeaderMap::from_iter([(header::ACCEPT, http::HeaderValue::from_static(value))]))
        };
        assert!(accept("application/json") && accept("text/plain, Application/JSON;q=0.9"));
        assert!(!accept("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(!wants_json(&HeaderMap::new()));
    }

    #[test]
    fn a_problem_gives_its_reason() {
        let response = problem(&NoAddress::Own);
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
