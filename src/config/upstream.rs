//! `[[upstream]]`

use super::document::{Node, Place, Value};
use super::reader::{Found, Reader};
use super::secrets::{self, Directories};
use super::{Kind, OAuthSettings, Permitted, PersonalHeader, UpstreamAuth, UpstreamConfig, program};
use crate::hostname::{Authority, Label, Target};
use crate::mcp::{Pattern, ToolPolicy};
use crate::oauth::scope::Scopes;
use crate::secret::Secret;
use http::{HeaderName, HeaderValue};
use std::collections::BTreeMap;

/// Every upstream, no domain and no alias twice. Servers of the Worker's variable give way to those of the configuration.
pub(super) fn all<'e>(
    configured: Vec<Reader<'e>>,
    worker: Vec<Reader<'e>>,
    read: impl Fn(Reader<'e>) -> Option<UpstreamConfig>,
) -> Vec<UpstreamConfig> {
    let mut all: Vec<UpstreamConfig> = Vec::new();
    let mut seen = Seen::default();
    let explicit = configured.len();
    let mut overruled: Vec<Authority> = Vec::new();
    for (position, reader) in configured.into_iter().chain(worker).enumerate() {
        let (errors, place) = (reader.errors, reader.place.clone());
        let (domain, alias) = (reader.name("domain"), reader.name("alias"));
        let Some(upstream) = read(reader) else { continue };
        if position < explicit {
            overruled.push(upstream.authority.clone());
        } else if overruled.contains(&upstream.authority) {
            continue;
        }
        if let Some(earlier) = seen.domain(&upstream, &place) {
            let why = format!("{} is configured twice, first at {earlier}: remove one", upstream.authority);
            errors.add(&place, &domain, why);
        }
        if let Some(earlier) = seen.alias(&upstream, &place) {
            let text = upstream.alias.as_deref().unwrap_or_default();
            let why = format!("{text:?} is the alias of the upstream at {earlier} already: choose another");
            errors.add(&place, &alias, why);
        }
        all.push(upstream);
    }
    all
}

/// What was configured where.
#[derive(Default)]
struct Seen {
    domains: BTreeMap<Authority, Place>,
    aliases: BTreeMap<String, Place>,
}

impl Seen {
    fn domain(&mut self, upstream: &UpstreamConfig, place: &Place) -> Option<Place> {
        self.domains.insert(upstream.authority.clone(), place.clone())
    }

    fn alias(&mut self, upstream: &UpstreamConfig, place: &Place) -> Option<Place> {
        self.aliases.insert(upstream.alias.clone()?, place.clone())
    }
}

/// One upstream; `None` when it is not known which it is.
pub(super) fn read(
    mut reader: Reader<'_>,
    own_domain: &str,
    allow_private: bool,
    directories: &Directories,
) -> Option<UpstreamConfig> {
    let (place, has_alias) = (reader.place.clone(), reader.has("alias"));
    let alias = reader.parsed("alias", alias);
    if reader.has("command") && !has_alias {
        let why = "is missing: a program needs one, since https://<alias>.<domain of the gateway>/mcp is its address";
        reader.error(&place, "alias", why);
    }
    let reached = if reader.has("command") {
        program::read(&mut reader, alias.as_ref(), directories)
    } else {
        server(&mut reader, own_domain, allow_private, directories)
    };
    let name = reader.parsed("name", printable).map(|found| found.value);
    let tools = tools(reader.table("tools"));
    let allowed = allowed(&mut reader);
    reader.finish();
    let Reached { authority, kind, path, auth, allow_private } = reached?;
    let alias = alias.map(|found| found.value);
    Some(UpstreamConfig { authority, name, alias, kind, path, auth, allow_private, tools, allowed })
}

/// What depends on the kind of server.
pub(super) struct Reached {
    pub(super) authority: Authority,
    pub(super) kind: Kind,
    pub(super) path: Option<String>,
    pub(super) auth: UpstreamAuth,
    pub(super) allow_private: Option<bool>,
}

/// A server on the network.
fn server(
    reader: &mut Reader<'_>,
    own_domain: &str,
    allow_private: bool,
    directories: &Directories,
) -> Option<Reached> {
    let place = reader.place.clone();
    for key in program::KEYS.into_iter().filter(|key| reader.has(key)).collect::<Vec<_>>() {
        let place = reader.take(key).map_or(Place::Nowhere, |node| node.place);
        reader.error(&place, key, "is used only with command: remove it, or name the program to run in command");
    }
    if !reader.has("domain") {
        let why = "is missing: every upstream needs one, like \"mcp.example.com\", or a command to run";
        reader.error(&place, "domain", why);
    }
    let domain = reader.parsed("domain", |text| authority(text, own_domain));
    let settings = reader.flag("allow_private");
    let unreachable = domain.as_ref().filter(|found| is_private(&found.value) && !settings.unwrap_or(allow_private));
    if let Some(Found { value, place }) = unreachable {
        let why = format!("{value} is on this machine or a private network: add allow_private = true if it is meant");
        reader.error(place, "domain", why);
    }
    let path = reader.parsed("path", path).map(|found| found.value);
    let transport = reader.parsed("transport", program::transport).map(|found| found.value).unwrap_or_default();
    let credential = domain.as_ref().map(|found| found.value.to_string()).unwrap_or_default();
    let auth = auth(reader, &credential, directories);
    let kind = Kind::Http { transport };
    Some(Reached { authority: domain?.value, kind, path, auth, allow_private: settings })
}

/// Either list alone restricts, an empty one too.
fn allowed(reader: &mut Reader<'_>) -> Option<Permitted> {
    let mut names = |key| reader.list(key, printable).map(|found| found.value);
    match (names("allow_users"), names("allow_groups")) {
        (None, None) => None,
        (users, groups) => Some(Permitted { users: users.unwrap_or_default(), groups: groups.unwrap_or_default() }),
    }
}

/// How we get in, and no key of another way.
fn auth(reader: &mut Reader<'_>, domain: &str, directories: &Directories) -> UpstreamAuth {
    let mode = reader.parsed("auth", |text| match text {
        "oauth" | "header" | "none" => Ok(text.to_owned()),
        other => Err(format!("{other:?} is not a way in: write \"oauth\", \"header\" or \"none\"")),
    });
    let settings = oauth(reader, domain, directories);
    let credential = format!("upstream.{domain}.value");
    let complete = reader.has("header") && (reader.has("value") || reader.has("value_file"));
    if let Some(personal) = personal(reader, mode.as_ref().map(|found| found.value.as_str())) {
        return personal.map_or(UpstreamAuth::None, UpstreamAuth::Personal);
    }
    let header = reader.parsed("header", header_name);
    let value = secrets::take(reader, ("value", "value_file"), &credential, directories);
    match (mode.as_ref().map_or("oauth", |found| found.value.as_str()), header, value) {
        ("oauth", None, None) => UpstreamAuth::OAuth(Box::new(settings)),
        ("header", Some(header), Some(value)) => header_auth(reader, header, value),
        // What is there and wrong has been reported.
        ("header", ..) if complete => UpstreamAuth::None,
        ("header", header, value) => {
            let place = header.map(|found| found.place).or(value.map(|found| found.place)).or(mode.map(|m| m.place));
            let why = "auth = \"header\" needs header, and value (or value_file) or personal = true";
            reader.error(&place.unwrap_or(Place::Nowhere), "auth", why);
            UpstreamAuth::None
        }
        (_, None, None) => UpstreamAuth::None,
        (_, header, value) => {
            let place = header.map(|found| found.place).or(value.map(|found| found.place)).unwrap_or(Place::Nowhere);
            let why = "header and value are used only with auth = \"header\": set that, or remove them";
            reader.error(&place, "auth", why);
            UpstreamAuth::None
        }
    }
}

/// The header of `personal = true`; `None` where nobody says that. What is wrong is reported.
fn personal(reader: &mut Reader<'_>, mode: Option<&str>) -> Option<Option<PersonalHeader>> {
    let place = reader.place.clone();
    let prefix = reader.parsed("prefix", prefix);
    if !reader.flag("personal").unwrap_or(false) {
        if let Some(prefix) = prefix {
            let why = "is used only with personal = true: set that, or write it into value";
            reader.error(&prefix.place, "prefix", why);
        }
        return None;
    }
    for key in ["value", "value_file"].into_iter().filter(|key| reader.has(key)) {
        reader.error(&place, key, "must go with personal = true: every person gives a value of their own");
    }
    drop((reader.take("value"), reader.take("value_file")));
    let has_name = reader.has("header");
    let name = reader.parsed("header", header_name).map(|found| found.value);
    if mode != Some("header") {
        reader.error(&place, "personal", "is used only with auth = \"header\": set that, or remove it");
        return Some(None);
    }
    if !has_name {
        reader.error(&place, "header", "is missing: say which header people have a value for, like \"x-api-key\"");
    }
    let prefix = prefix.map(|found| found.value).unwrap_or_default();
    Some(name.map(|name| PersonalHeader { name, prefix }))
}

/// What stands before a value in a header; a space at its end belongs to it.
fn prefix(text: &str) -> Result<String, String> {
    let good = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) && !text.starts_with(' ');
    good.then(|| text.to_owned()).ok_or_else(|| "must be printable ASCII, like \"Bearer \"".to_owned())
}

fn header_auth(reader: &Reader<'_>, header: Found<HeaderName>, value: Found<Secret>) -> UpstreamAuth {
    if HeaderValue::from_str(value.value.expose()).is_err() {
        reader.error(&value.place, "value", "has a character that no header can carry: use printable ASCII");
    }
    UpstreamAuth::Header { name: header.value, value: value.value }
}

fn oauth(reader: &mut Reader<'_>, domain: &str, directories: &Directories) -> OAuthSettings {
    let mut url = |key| reader.parsed(key, endpoint).map(|found| found.value);
    let (issuer, authorization_endpoint) = (url("issuer"), url("authorization_endpoint"));
    let token_endpoint = url("token_endpoint");
    let client_id = reader.parsed("client_id", printable).map(|found| found.value);
    let credential = format!("upstream.{domain}.client_secret");
    let secret = secrets::take(reader, ("client_secret", "client_secret_file"), &credential, directories);
    if let (None, Some(secret)) = (&client_id, &secret) {
        reader.error(&secret.place, "client_secret", "needs client_id beside it");
    }
    OAuthSettings {
        issuer,
        authorization_endpoint,
        token_endpoint,
        client_id,
        client_secret: secret.map(|found| found.value),
        scopes: scopes(reader),
        resource: reader.parsed("resource", resource).map(|found| found.value),
    }
}

fn tools(mut reader: Reader<'_>) -> Option<ToolPolicy> {
    let mut patterns = |key| reader.list(key, Pattern::parse).map(|found| found.value);
    let (allow, deny) = (patterns("allow"), patterns("deny"));
    reader.finish();
    ToolPolicy::new(allow, deny.unwrap_or_default())
}

/// A text separated by spaces, or a list.
pub(super) fn scopes(reader: &mut Reader<'_>) -> Option<String> {
    let Node { value, place } = reader.take("scopes")?;
    let text = match value {
        Value::Text(text) | Value::Untyped(text) => Some(text),
        Value::List(list) => list
            .into_iter()
            .map(|node| match node.value {
                Value::Text(text) | Value::Untyped(text) => Some(text),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(|all| all.join(" ")),
        _ => None,
    };
    match text.as_deref().map(Scopes::parse) {
        Some(Ok(_)) => text.filter(|text| !text.trim().is_empty()),
        Some(Err(c)) => {
            reader.error(&place, "scopes", format!("{c:?} cannot be part of a scope: separate scopes with spaces"));
            None
        }
        None => {
            reader.error(&place, "scopes", "must be a text like \"read write\", or a list of texts");
            None
        }
    }
}

fn authority(text: &str, own_domain: &str) -> Result<Authority, String> {
    if text.contains('/') {
        return Err(format!("{text:?} is not a domain: write host or host:port alone, and the path into path"));
    }
    let authority = Authority::from_input(text).map_err(|why| why.to_string())?;
    let host = authority.host();
    let below = host.strip_suffix(own_domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if authority.is_program() {
        return Err(format!(
            "{authority} cannot be reached: a program that the gateway runs has a command and an alias"
        ));
    }
    // On localhost the port tells the gateway from its upstreams; the registry knows it once it listens.
    if below && own_domain != "localhost" {
        return Err(format!("{authority} is this gateway itself: name the MCP server behind it"));
    }
    Ok(authority)
}

fn is_private(authority: &Authority) -> bool {
    authority.is_loopback() || authority.ipv4().is_some_and(|ip| ip.is_private() || ip.is_link_local())
}

fn alias(text: &str) -> Result<String, String> {
    match Label::parse(text) {
        Ok(Label { account: None, target: Target::Alias(alias) }) if *alias == *text => Ok(text.to_owned()),
        _ => Err(format!(
            "{text:?} is not an alias: use up to 63 characters of a-z, 0-9 and single hyphens, not ending with \"-enc\""
        )),
    }
}

pub(super) fn path(text: &str) -> Result<String, String> {
    let good = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
    good.then(|| text.to_owned()).ok_or_else(|| format!("{text:?} is not a path: write it like \"/mcp\""))
}

pub(super) fn printable(text: &str) -> Result<String, String> {
    let good = !text.trim().is_empty() && !text.chars().any(char::is_control);
    good.then(|| text.to_owned()).ok_or_else(|| "must be a text that can be shown, on one line".to_owned())
}

/// An absolute URL that secrets may be sent to: https, or http on this machine.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let wrong = || "must be an absolute https URL without fragment and password (http only on this machine)".to_owned();
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let host = url.host_str().unwrap_or_default();
    let loopback = host == "localhost" || host.ends_with(".localhost") || host == "[::1]" || host.starts_with("127.");
    let scheme = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    let bare = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    (scheme && bare && !host.is_empty()).then(|| text.to_owned()).ok_or_else(wrong)
}

/// What to send as `resource` (RFC 8707 §2: absolute, no fragment); empty: nothing.
fn resource(text: &str) -> Result<String, String> {
    let good = text.is_empty() || url::Url::parse(text).is_ok_and(|url| url.fragment().is_none());
    good.then(|| text.to_owned())
        .ok_or_else(|| "must be an absolute URL without fragment, or \"\" to send none".to_owned())
}

/// Not what belongs to the connection or to the message as a whole.
pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    const TAKEN: [&str; 11] = [
        "connection",
        "content-length",
        "cookie",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "origin",
    ];
    let name = HeaderName::from_bytes(text.as_bytes());
    name.ok()
        .filter(|name| !TAKEN.contains(&name.as_str()))
        .ok_or_else(|| format!("{text:?} cannot be set for an upstream: write a header like \"x-api-key\""))
}
