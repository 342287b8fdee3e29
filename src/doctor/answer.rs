//! Answers, and what can be told from any of them.

use super::check::Verdict;
use crate::json;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, SERVER};
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// An answer, read completely unless it is endless.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) took: Duration,
}

/// Why there is none.
pub(super) enum Trouble {
    /// Not within this time.
    Slow(Duration),
    /// In words.
    Failed(String),
}

impl Trouble {
    pub(super) fn seen(&self) -> String {
        match self {
            Self::Slow(limit) => format!("no answer within {}", seconds(*limit)),
            Self::Failed(why) => printable(why, 300),
        }
    }
}

impl Answer {
    pub(super) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Its body, if that is an object.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        json::object(&self.body).ok()
    }

    /// The `error` of an OAuth answer (RFC 6749 §5.2) with its description.
    pub(super) fn oauth_error(&self) -> Option<(String, String)> {
        let members: Value = self.json()?;
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(|text| printable(text, 200));
        Some((text("error")?, text("error_description").unwrap_or_default()))
    }

    pub(super) fn is_html(&self) -> bool {
        self.header(CONTENT_TYPE).is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"))
            || self.body.trim_ascii_start().to_ascii_lowercase().starts_with(b"<!doctype html")
    }

    /// Where a redirect leads.
    pub(super) fn location(&self, from: &Url) -> Option<Url> {
        self.status.is_redirection().then(|| from.join(self.header(LOCATION)?).ok()).flatten()
    }

    /// What this is, in a line.
    pub(super) fn seen(&self) -> String {
        let mut seen = self.status.as_u16().to_string();
        if let Some(location) = self.header(LOCATION) {
            seen.push_str(&format!(" to {}", printable(location, 120)));
        } else if let Some(title) = self.title() {
            seen.push_str(&format!(", a page called \"{title}\""));
        } else if let Some((error, description)) = self.oauth_error() {
            seen.push_str(&format!(", {error}"));
            if !description.is_empty() {
                seen.push_str(&format!(" ({description})"));
            }
        } else if let Some(kind) = self.header(CONTENT_TYPE) {
            seen.push_str(&format!(", {}", printable(kind, 60)));
        }
        seen
    }

    /// The bot protection that sent this, if one did.
    pub(super) fn bot_protection(&self) -> Option<String> {
        let title = self.title().unwrap_or_default();
        let challenged = self.headers.contains_key("cf-mitigated");
        let blocked = matches!(self.status.as_u16(), 403 | 429 | 503) && self.is_html();
        let known = ["just a moment", "attention required", "access denied", "you have been blocked", "captcha"];
        let named = known.iter().any(|words| title.to_ascii_lowercase().contains(words));
        let edge = self.headers.contains_key("cf-ray") || self.header(SERVER) == Some("cloudflare");
        let who = if edge || challenged { "Cloudflare" } else { "a bot protection" };
        (challenged || (blocked && (named || edge))).then(|| format!("{} from {who}", self.seen()))
    }

    fn title(&self) -> Option<String> {
        if !self.is_html() {
            return None;
        }
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(16 * 1024)]).into_owned();
        let lower = text.to_ascii_lowercase();
        let begin = lower.find("<title")? + lower[lower.find("<title")?..].find('>')? + 1;
        let end = begin + lower[begin..].find("</title")?;
        Some(printable(text[begin..end].trim(), 80))
    }

    /// Which way of failing an answer is that should have been something else.
    pub(super) fn cause(&self) -> &'static str {
        match self.status.as_u16() {
            200..=299 if self.is_html() => "html",
            200..=299 => "nonsense",
            300..=399 => "redirect",
            404 | 410 => "not-found",
            405 => "method",
            401 | 403 => "forbidden",
            429 => "limited",
            500.. => "server-error",
            _ => "refused",
        }
    }

    /// The same as a verdict.
    pub(super) fn broken(&self) -> Verdict {
        Verdict::broken(self.cause(), self.seen())
    }
}

/// A text that a stranger wrote, fit for a terminal and a page: nothing in it controls either, or turns the direction of writing.
pub(super) fn printable(text: &str, most: usize) -> String {
    let deceives = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if deceives(c) { ' ' } else { c }).take(most).collect()
}

/// `0.12 s`.
pub(super) fn seconds(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{} s", time.as_secs()) } else { format!("{:.2} s", time.as_secs_f64()) }
}
