//! What strangers write about themselves: challenges, metadata, registrations, redirect URIs.

use super::Input;
use crate::json;
use crate::oauth::challenge::BearerChallenge;
use crate::oauth::metadata::{AuthorizationServer, ProtectedResource};
use crate::oauth::redirect::RedirectUri;
use crate::oauth::registration::{AuthMethod, ClientKeys, ClientMetadata};
use crate::oauth::resource;
use crate::oauth::scope::Scopes;
use http::HeaderValue;
use serde_json::Value;
use url::{Host, Url};

/// A challenge is found among others, says what was written, and is written so that it says one thing only.
pub(super) fn challenge(data: &[u8]) {
    // Whatever it is.
    if let Some(found) = BearerChallenge::parse(&String::from_utf8_lossy(data)) {
        check_written(&found);
    }
    // One that was written on purpose, between others.
    let mut input = Input::new(data);
    let before =
        input.pick(&["", "Basic realm=\"a, Bearer x=\\\"y\\\"\", ", "Negotiate, ", "Digest a=b,c=\"d\" , ", ", ,"]);
    let values: [Option<String>; 4] = std::array::from_fn(|_| input.coin().then(|| input.text(40)));
    let quoted = input.coin();
    let after = input.pick(&["", ", Basic realm=\"x\"", ", DPoP algs=\"ES256\"", ",", " , Negotiate"]);
    let mut text = format!("{before}bEaReR ");
    let names = ["resource_metadata", "SCOPE", "error", "Error_Description"];
    let mut expected = [None, None, None, None];
    let mut present = 0;
    for ((name, value), expected) in names.into_iter().zip(values).zip(&mut expected) {
        let Some(value) = value else { continue };
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let plain = !quoted && !value.is_empty() && value.chars().all(is_token);
        text.push_str(if present == 0 { "" } else { ", " });
        present += 1;
        if plain {
            text.push_str(&format!("{name} = {value}"));
        } else {
            text.push_str(&format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")));
        }
        *expected = Some(value);
    }
    text.push_str(after);
    let found = BearerChallenge::parse(&text).unwrap_or_else(|| panic!("nothing found in {text:?}"));
    let [resource_metadata, scope, error, error_description] = expected;
    assert_eq!(found, BearerChallenge { resource_metadata, scope, error, error_description }, "{text:?}");
    check_written(&found);
}

/// What we write about it fits into a field and reads the same, but for characters that must not be there.
fn check_written(challenge: &BearerChallenge) {
    let clean = |text: &Option<String>| {
        let allowed = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        text.as_ref().map(|text| text.chars().filter(allowed).collect::<String>())
    };
    let expected = BearerChallenge {
        resource_metadata: clean(&challenge.resource_metadata),
        scope: clean(&challenge.scope),
        error: clean(&challenge.error),
        error_description: clean(&challenge.error_description),
    };
    let written = challenge.to_string();
    assert!(HeaderValue::from_str(&written).is_ok() && HeaderValue::from_str(&challenge.for_dpop()).is_ok());
    assert_eq!(BearerChallenge::parse(&written), Some(expected), "{written:?}");
    // No parameter opens another one: outside of quotes there are only names, commas and spaces.
    assert_eq!(written.matches('"').count() % 2, 0);
    let outside = written.split('"').step_by(2);
    assert!(outside.flat_map(str::chars).all(|c| c.is_ascii_alphanumeric() || " ,=_".contains(c)), "{written:?}");
}

/// Documents mean the same after they were written; where we believe one, it says what we believe.
pub(super) fn metadata(data: &[u8]) {
    if let Ok(server) = json::object::<AuthorizationServer>(data) {
        let written = serde_json::to_string(&server).unwrap();
        let again: AuthorizationServer = serde_json::from_str(&written).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), written);
        if let Ok(value) = serde_json::from_slice::<Value>(data) {
            assert_eq!(server.issuer, value.get("issuer").and_then(Value::as_str).unwrap_or_default());
        }
    }
    if let Ok(resource) = json::object::<ProtectedResource>(data) {
        let written = serde_json::to_string(&resource).unwrap();
        let again: ProtectedResource = serde_json::from_str(&written).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), written);
        for issuer in &resource.authorization_servers {
            crate::connect::fuzzing::well_known(issuer);
            if resource::covers(issuer, &resource.resource) {
                assert!(issuer == &resource.resource || same_origin(issuer, &resource.resource));
            }
        }
        Scopes::lenient(resource.scopes_supported.iter().map(String::as_str));
    }
    // A client's document: its id is its address.
    let mut input = Input::new(data);
    let url = input.pick(&["https://app.example/client.json", "https://app.example/c?x=1", "http://localhost:1/c"]);
    let body = input.rest();
    if let Ok(client) = ClientMetadata::from_document(body, url) {
        let value: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(value["client_id"], url);
        assert!(!client.auth_method.has_secret() && value.get("client_secret").is_none());
        check_client(&client);
    }
    crate::issuer::fuzzing::document_url(&String::from_utf8_lossy(data));
}

fn same_origin(one: &str, other: &str) -> bool {
    let origin = |text: &str| Url::parse(text).unwrap().origin();
    origin(one) == origin(other)
}

/// What was registered can be kept, and has nothing in it that must not be there.
pub(super) fn registration(data: &[u8]) {
    let Ok(client) = ClientMetadata::from_registration(data) else { return };
    assert!(serde_json::from_slice::<Value>(data).is_ok_and(|value| value.is_object()));
    check_client(&client);
    let kept = Value::Object(client.to_json());
    for secret in ["client_secret", "registration_access_token", "client_id"] {
        assert!(kept.get(secret).is_none(), "{secret} is kept");
    }
    assert_eq!(ClientMetadata::from_stored(kept.to_string().as_bytes()).unwrap(), client, "{kept}");
}

fn check_client(client: &ClientMetadata) {
    assert!(client.redirect_uris.len() <= 20);
    assert!(
        !client.redirect_uris.is_empty() || client.grant_types.iter().all(|one| one.as_str() != "authorization_code")
    );
    assert!(client.grant_types.iter().all(|one| !one.is_for_machines()), "nobody gives oneself the grants of machines");
    client.redirect_uris.iter().for_each(check_redirect);
    if let Some(name) = &client.client_name {
        let hidden = |c: char| {
            c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)
        };
        assert!(!name.is_empty() && name.chars().count() <= 200 && !name.chars().any(hidden), "{name:?}");
    }
    if let Some(uri) = &client.client_uri {
        assert!(matches!(Url::parse(uri).unwrap().scheme(), "http" | "https"));
    }
    assert_eq!(client.auth_method == AuthMethod::PrivateKeyJwt, client.keys.is_some());
    match &client.keys {
        Some(ClientKeys::Inline(set)) => {
            let private = |key: &Value| ["d", "p", "q", "k"].iter().any(|member| key.get(member).is_some());
            assert!(!set["keys"].as_array().unwrap().iter().any(private), "a private key is kept");
        }
        Some(ClientKeys::Remote(url)) => {
            let url = Url::parse(url).unwrap();
            assert!(url.scheme() == "https" || is_here(&url));
            assert!(url.username().is_empty() && url.fragment().is_none());
        }
        None => {}
    }
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// What may be registered leads to one place, and nothing matches it that leads to another.
pub(super) fn redirect(data: &[u8]) {
    let mut input = Input::new(data);
    let beginning = input.pick(&[
        "",
        "https://app.example/cb",
        "http://localhost:3000/cb",
        "http://127.0.0.1",
        "http://[::1]:1/cb?a=b",
        "com.example.app:/cb",
        "cursor://a.b/cb",
    ]);
    let registered = format!("{beginning}{}", input.text(60));
    let requested = match input.below(4) {
        0 => String::from_utf8_lossy(input.rest()).into_owned(),
        // Something put in somewhere, which is how one would try.
        1 => {
            let at = input.below(registered.len() + 1);
            let at = (0..=at).rev().find(|at| registered.is_char_boundary(*at)).unwrap_or(0);
            let (before, after) = registered.split_at(at);
            format!("{before}{}{after}", String::from_utf8_lossy(input.rest()))
        }
        2 => format!("{registered}{}", String::from_utf8_lossy(input.rest())),
        _ => registered.replace("3000", &String::from_utf8_lossy(input.rest())),
    };
    let Ok(uri) = RedirectUri::parse(&registered) else { return };
    check_redirect(&uri);
    assert_eq!(uri.as_str(), registered);
    assert!(uri.matches(&registered));
    if uri.matches(&requested) && requested != registered {
        let (one, other) = (Url::parse(&registered).unwrap(), Url::parse(&requested).unwrap());
        for url in [&one, &other] {
            assert!(url.scheme() == "http" && is_here(url), "{requested:?} matches {registered:?}");
            assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
        }
        assert_eq!((one.host(), one.path(), one.query()), (other.host(), other.path(), other.query()));
        HeaderValue::from_str(&requested).unwrap();
    }
}

/// What holds for every URI to which a code may be sent.
fn check_redirect(uri: &RedirectUri) {
    let text = uri.as_str();
    HeaderValue::from_str(text).unwrap();
    assert!(
        text.len() <= 2048
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && !text.contains(['#', '*', '"', '<', '\\'])
    );
    assert!(!uri.host_for_display().is_empty(), "{text:?} leads nowhere that could be shown");
    // What a browser makes of it.
    let Ok(url) = Url::parse(text) else {
        let scheme = text.split(':').next().unwrap_or_default();
        assert!(uri.web_host().is_none() && !["http", "https"].contains(&&*scheme.to_ascii_lowercase()), "{text:?}");
        return;
    };
    let no_program =
        ["javascript", "data", "vbscript", "file", "blob", "about", "ws", "wss", "filesystem", "view-source"];
    assert!(!no_program.contains(&url.scheme()), "{text:?}");
    assert!(url.fragment().is_none());
    match url.scheme() {
        "https" => {
            assert!(url.host_str().is_some_and(|host| !host.is_empty()));
            assert!(url.username().is_empty() && url.password().is_none(), "{text:?}");
            assert!(uri.host_for_display().starts_with(url.host_str().unwrap()));
        }
        "http" => assert!(is_here(&url) && url.username().is_empty() && uri.needs_warning().is_some(), "{text:?}"),
        _ => assert!(uri.needs_warning().is_some() && uri.web_host().is_none()),
    }
}
