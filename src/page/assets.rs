//! The static files, embedded. Their addresses carry a digest of their content, so that browsers may keep them for good.

use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use http::header;
use std::sync::LazyLock;

const STYLE: &str = include_str!("portcullis.css");
const SCRIPT: &str = include_str!("portcullis.js");
const PASSKEYS: &str = include_str!("passkeys.js");
const ICON: &str = include_str!("icon.svg");

/// The file `/assets/<name>`, if there is one. It is kept for good under the address that our pages name; a page of another
/// version of the program, at another node, has another address, under which nobody may keep what is ours.
pub fn asset(name: &str, query: Option<&str>) -> Option<Response> {
    let (content_type, body) = match name {
        "portcullis.css" => ("text/css; charset=utf-8", STYLE),
        "portcullis.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "passkeys.js" => ("text/javascript; charset=utf-8", PASSKEYS),
        "icon.svg" => ("image/svg+xml", ICON),
        _ => return None,
    };
    let is_ours = match name {
        "icon.svg" => true,
        name => address(name, body).split_once('?').map(|(_, version)| version) == query,
    };
    let keep = if is_ours { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, keep),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    Some((headers, body).into_response())
}

/// `/assets/portcullis.css?v=<digest>`
pub(super) fn style_address() -> &'static str {
    static ADDRESS: LazyLock<String> = LazyLock::new(|| address("portcullis.css", STYLE));
    &ADDRESS
}

/// `/assets/portcullis.js?v=<digest>`
pub(super) fn script_address() -> &'static str {
    static ADDRESS: LazyLock<String> = LazyLock::new(|| address("portcullis.js", SCRIPT));
    &ADDRESS
}

/// `/assets/passkeys.js?v=<digest>`
pub(super) fn passkeys_address() -> &'static str {
    static ADDRESS: LazyLock<String> = LazyLock::new(|| address("passkeys.js", PASSKEYS));
    &ADDRESS
}

fn address(name: &str, content: &str) -> String {
    let digest = crate::ids::Digest::of(content);
    format!("/assets/{name}?v={}", HEXLOWER.encode(&digest.0[..8]))
}
