//! The token endpoint, asked with a code and a refresh token that nobody issued: it must refuse them in the words of OAuth.

use super::super::answer::{Answer, Trouble, seconds};
use super::super::check::{Check, Verdict};
use super::Walk;
use super::registration::Client;
use super::resource::Described;
use super::server::Announced;
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, ORIGIN, USER_AGENT};
use std::time::Duration;

/// What a verifier looks like.
const VERIFIER: &str = "nobody-issued-the-code-that-this-verifier-is-for-0";

type Parameters = Vec<(&'static str, String)>;

impl Walk<'_> {
    pub(super) async fn token(&mut self, resource: &Described, server: &Announced, client: Option<&Client>) {
        let mut code: Parameters = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", "nobody-issued-this-code".to_owned()),
            ("redirect_uri", self.redirect_uri()),
            ("code_verifier", VERIFIER.to_owned()),
        ];
        let mut refresh: Parameters =
            vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", "nobody-issued-this-token".to_owned())];
        for parameters in [&mut code, &mut refresh] {
            parameters.push(("client_id", client.map_or("portcullis-doctor", |client| &client.id).to_owned()));
            parameters.extend(client.and_then(|client| Some(("client_secret", client.secret.clone()?))));
            if self.rules.authorization.resource {
                parameters.push(("resource", resource.resource.clone()));
            }
        }
        let limits = self.rules.limits;
        let (code, refresh) =
            tokio::join!(self.post(server, &code, limits.token()), self.post(server, &refresh, limits.refresh()),);
        match code {
            Ok(answer) => {
                self.found(Check::TokenTime, Verdict::Holds(seconds(answer.took)));
                self.found(Check::Token, spoken(&answer));
                self.cors(&answer);
            }
            Err(trouble @ Trouble::Slow(_)) => self.found(Check::TokenTime, Verdict::broken("", trouble.seen())),
            Err(trouble) => self.found(Check::Token, Verdict::broken("unreachable", trouble.seen())),
        }
        let verdict = match refresh {
            Ok(answer) => spoken(&answer),
            Err(trouble @ Trouble::Slow(_)) => Verdict::broken("slow", trouble.seen()),
            Err(trouble) => Verdict::broken("unreachable", trouble.seen()),
        };
        self.found(Check::Refresh, verdict);
    }

    async fn post(&self, server: &Announced, parameters: &Parameters, limit: Duration) -> Result<Answer, Trouble> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let mut request = Request::post(server.token.as_str())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(USER_AGENT, &self.rules.discovery.user_agent);
        if let Some(origin) = &self.rules.authorization.origin {
            request = request.header(ORIGIN, origin);
        }
        let request = request.body(Bytes::from(body)).map_err(|error| Trouble::Failed(error.to_string()))?;
        self.ask(request, limit).await
    }

    fn cors(&mut self, answer: &Answer) {
        let Some(origin) = &self.rules.authorization.origin else { return };
        let allowed = answer.header(ACCESS_CONTROL_ALLOW_ORIGIN);
        let fits = allowed.is_some_and(|allowed| allowed == "*" || allowed == origin);
        let seen = allowed.map_or_else(|| "no Access-Control-Allow-Origin".to_owned(), str::to_owned);
        self.found(Check::TokenCors, Verdict::when(fits, seen));
    }
}

/// A refusal as RFC 6749 §5.2 has it.
fn spoken(answer: &Answer) -> Verdict {
    match answer.oauth_error() {
        Some(_) if answer.status.is_client_error() => Verdict::Holds(answer.seen()),
        _ if answer.bot_protection().is_some() => Verdict::broken("bots", answer.seen()),
        _ => answer.broken(),
    }
}
