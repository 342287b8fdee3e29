//! The pages, in the looks of another company.

use super::state::{Pending, Shared};
use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Demo Notes: allow access?</title>
<style>
body { background: #fdf6e3; color: #3b2f1e; font: 17px/1.5 Georgia, serif; margin: 0 }
main { background: #fffdf7; border-top: 6px solid #c2571a; box-shadow: 0 2px 14px #0002; margin: 9vh auto; max-width: 27rem; padding: 2rem }
h1 { font-size: 1.35rem } code { overflow-wrap: anywhere } input { font: inherit; padding: .3rem .5rem; width: 60% }
button { background: #c2571a; border: 0; color: #fff; font: inherit; margin: 1.2rem .6rem 0 0; padding: .5rem 1.3rem }
button[value=deny] { background: #e9dfc8; color: inherit }
</style></head>
<body><main>
<p>Demo Notes</p>
<h1>Demo Notes wants to know who you are</h1>
<p><b>{{ client }}</b> asks for <code>{{ scope }}</code> at <code>{{ resource }}</code>.</p>
<p>You will be sent to <code>{{ redirect_uri }}</code>.</p>
<form method="post" action="{{ action }}">
<input type="hidden" name="request" value="{{ request }}">
<label>Use Demo Notes as <input name="user" value="demo" required></label><br>
<button type="submit" name="decision" value="approve">Allow</button>
<button type="submit" name="decision" value="deny">Do not allow</button>
</form>
</main></body></html>
"#
)]
struct Consent<'a> {
    client: &'a str,
    scope: &'a str,
    resource: &'a str,
    redirect_uri: &'a str,
    action: &'a str,
    request: &'a str,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Demo Notes: that did not work</title></head>
<body><main><h1>That did not work</h1><p>{{ why }}</p></main></body></html>
"#
)]
struct Refusal<'a> {
    why: &'a str,
}

pub(super) fn consent(shared: &Shared, id: &str, client: &str, request: &Pending) -> Response {
    let page = Consent {
        client,
        scope: &request.scope,
        resource: &request.resource,
        redirect_uri: &request.redirect_uri,
        action: &format!("{}/authorize", shared.issuer()),
        request: id,
    };
    html(StatusCode::OK, &page)
}

/// The browser goes nowhere; the person learns why.
pub(super) fn refusal(why: &str) -> Response {
    html(StatusCode::BAD_REQUEST, &Refusal { why })
}

fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, super::token::NO_STORE, Html(text)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
