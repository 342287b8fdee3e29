//! Errors that name the culprit and keep two texts: one for the person or client outside, one for the log.

use std::borrow::Cow;
use std::fmt;

/// Whose fault it is, and so which status an answer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// The caller sent something that cannot be right.
    Caller,
    /// The upstream MCP server, or its authorization server.
    Upstream,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// We ourselves: store, vault, configuration.
    Gateway,
    /// We ourselves, for the moment: no connection to the database is free, or it cannot be reached.
    Busy,
}

/// Something failed; what may be said outside and what belongs into the log are kept apart.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Whose fault it is.
    pub culprit: Culprit,
    /// A sentence that may be shown to anybody: no secret, no address, nothing a caller sent.
    pub public: Cow<'static, str>,
    /// What happened, for the log. Never a secret.
    pub private: String,
}

impl Fault {
    /// A fault of our own. The outside learns only that there was one.
    pub fn gateway(private: impl fmt::Display) -> Self {
        Self { culprit: Culprit::Gateway, public: "an internal error occurred".into(), private: private.to_string() }
    }

    /// A task of ours did not come to its end, which is a bug or the end of the process. The place of a bug is in the log; what it said is
    /// not taken from here, because it may quote what was being read (src/telemetry/bugs.rs).
    #[allow(clippy::needless_pass_by_value)] // as `map_err` gives it
    pub fn task(error: tokio::task::JoinError) -> Self {
        Self::gateway(if error.is_panic() { "a task ended by a bug, which the log has" } else { "a task was given up" })
    }

    /// A fault of our own that is over soon. The outside learns that it is worth trying again.
    pub fn busy(private: impl fmt::Display) -> Self {
        let public = "the gateway has too much to do, or cannot reach its database: try again shortly".into();
        Self { culprit: Culprit::Busy, public, private: private.to_string() }
    }

    /// The caller's fault; the same sentence serves both sides.
    pub fn caller(public: impl Into<Cow<'static, str>>) -> Self {
        let public = public.into();
        Self { culprit: Culprit::Caller, private: public.to_string(), public }
    }

    /// The upstream's fault.
    pub fn upstream(public: impl Into<Cow<'static, str>>, private: impl fmt::Display) -> Self {
        Self { culprit: Culprit::Upstream, public: public.into(), private: private.to_string() }
    }

    /// The HTTP status that fits.
    pub fn status(&self) -> http::StatusCode {
        match self.culprit {
            Culprit::Caller => http::StatusCode::BAD_REQUEST,
            Culprit::Upstream => http::StatusCode::BAD_GATEWAY,
            Culprit::UpstreamTimeout => http::StatusCode::GATEWAY_TIMEOUT,
            Culprit::Gateway => http::StatusCode::INTERNAL_SERVER_ERROR,
            Culprit::Busy => http::StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.private)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_has_a_bug_does_not_tell_what_it_was_at() {
        let token = "canary-§".to_owned();
        let cut = tokio::task::spawn_blocking(move || token.split_at(8).0.len()).await.unwrap_err();
        assert!(cut.to_string().contains("canary"), "tokio says less than it did: {cut}");
        let fault = Fault::task(cut);
        assert_eq!((fault.culprit, fault.to_string().contains("canary")), (Culprit::Gateway, false), "{fault}");
    }
}
