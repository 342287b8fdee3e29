//! The static files, embedded. Their addresses carry a digest of their content, so that browsers may keep them for good.

use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use http::header;
use std::sync::LazyLock;

/// The one style sheet: what all pages share, and then what each room of the dashboard adds.
const STYLE: &str = concat!(
    include_str!("style/base.css"),
    include_str!("style/frame.css"),
    include_str!("style/start.css"),
    include_str!("style/connections.css"),
    include_str!("style/activity.css"),
    include_str!("style/access.css"),
    include_str!("style/system.css"),
);
const SVG: &str = "image/svg+xml";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Every file: its name, its type, what is in it.
const FILES: [(&str, &str, &str); 6] = [
    ("portcullis.css", CSS, STYLE),
    ("portcullis.js", JAVASCRIPT, include_str!("script/portcullis.js")),
    ("passkeys.js", JAVASCRIPT, include_str!("script/passkeys.js")),
    ("start.js", JAVASCRIPT, include_str!("script/start.js")),
    ("activity.js", JAVASCRIPT, include_str!("script/activity.js")),
    ("icon.svg", SVG, include_str!("icon.svg")),
];

/// Where each file is, with its version: `/assets/portcullis.css?v=<digest>`.
static ADDRESSES: LazyLock<[String; FILES.len()]> = LazyLock::new(|| {
    FILES.map(|(name, _, content)| {
        let digest = crate::ids::Digest::of(content);
        format!("/assets/{name}?v={}", HEXLOWER.encode(&digest.0[..8]))
    })
});

/// The file `/assets/<name>`, if there is one. It is kept for good under the address that our pages name; a page of another
/// version of the program, at another node, has another address, under which nobody may keep what is ours.
pub fn asset(name: &str, query: Option<&str>) -> Option<Response> {
    let (_, content_type, body) = FILES.into_iter().find(|(known, ..)| *known == name)?;
    // The icon is asked for without a version, and never changes.
    let is_ours = content_type == SVG || address(name).split_once('?').map(|(_, version)| version) == query;
    let keep = if is_ours { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, keep),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    Some((headers, body).into_response())
}

/// The address of a file, with the digest of its content; empty for a file that there is not.
pub(super) fn address(name: &str) -> &'static str {
    let position = FILES.iter().position(|(known, ..)| *known == name);
    position.map_or("", |position| &ADDRESSES[position])
}
