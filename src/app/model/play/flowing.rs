//! Sign-in, consent, codes and tokens, over the doors that browsers and clients use.

use super::super::events::{Browser, By, Decision, NODES};
use super::super::node::Reply;
use super::super::reference::{Client, Expected};
use super::{Checked, Play, Round, View};
use crate::ids::Digest;
use crate::oauth::pkce::Challenge;
use crate::session::Means;
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode, header};
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};
use serde_json::{Value, json};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CALLBACK: &str = "https://app.example/callback";
/// Longer than the steps of any sign-in.
const MOST_STEPS: usize = 8;

impl Play {
    pub(super) async fn sign_in(&self, round: &mut Round, person: usize, node: usize) {
        let someone = &round.model.people[person];
        if someone.removed || someone.disabled {
            return;
        }
        let sessions = &self.nodes[node].app.sessions;
        let cookie = sessions.begin(&HeaderMap::new(), &round.people[person], Means::Password, None).await.unwrap();
        round.cookies[person] = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        round.model.people[person].session = Some(self.clock.now());
    }

    pub(super) async fn register(&self, round: &mut Round, upstream: usize, node: usize) {
        let metadata = json!({
            "client_name": "Test client",
            "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "none",
        });
        let reply = self.nodes[node].register(&self.labels[upstream], metadata.to_string()).await;
        // The hostname of an upstream that was denied is not there.
        let Ok(registered) = serde_json::from_str::<Value>(&reply.body) else { return };
        let Some(id) = registered["client_id"].as_str() else { return };
        let registered_at = self.clock.now();
        round.model.clients.push(Client { id: id.to_owned(), upstream, registered_at, used: false, gone: false });
    }

    /// Goes through the flow, each request at another node that is not behind.
    pub(super) async fn authorize(
        &self,
        round: &mut Round,
        (person, client): (usize, usize),
        (browser, decision): (Browser, Decision),
        node: usize,
    ) -> Checked {
        if browser == Browser::SignsInFirst {
            self.sign_in(round, person, node).await;
        }
        let expected = round.model.authorizes(person, client, self.clock.now());
        let code = self.flow(round, (person, client), decision, node).await?;
        if decision == Decision::Deny {
            prop_assert_eq!(code, None, "a code without consent");
            return Ok(());
        }
        prop_assert!(expected.is_none_or(|expected| expected == code.is_some()), "expected {:?}: {:?}", expected, code);
        if let Some(code) = code {
            let row = self.nodes[0].app.store.code(&Digest::of(&code)).await.unwrap().unwrap();
            round.grants.push(row.grant);
            round.model.granted(person, client, code, self.clock.now());
        }
        Ok(())
    }

    /// The code that a flow leads to, if it leads to one.
    async fn flow(
        &self,
        round: &Round,
        (person, client): (usize, usize),
        decision: Decision,
        node: usize,
    ) -> Result<Option<String>, TestCaseError> {
        let (client, cookie) = (&round.model.clients[client], &round.cookies[person]);
        let label = self.labels[client.upstream].to_string();
        let challenge = Challenge::of(VERIFIER);
        let query = [
            ("response_type", "code"),
            ("client_id", &client.id),
            ("redirect_uri", CALLBACK),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let mut reply = self.current(round, node).get(&format!("/authorize/{label}?{query}"), cookie).await;
        for step in 1..MOST_STEPS {
            let node = self.current(round, (node + step) % NODES);
            if let Some(answer) = reply.location.strip_prefix(CALLBACK) {
                let answer = url::form_urlencoded::parse(answer.trim_start_matches('?').as_bytes());
                return Ok(answer.into_owned().find(|(name, _)| name == "code").map(|(_, code)| code));
            }
            reply = if reply.location.starts_with("/authorize") {
                node.get(&reply.location, cookie).await
            } else if let (StatusCode::OK, Some(flow)) = (reply.status, value_of(&reply.body, "flow")) {
                let Some(csrf_token) = self.csrf_token(round, cookie, step % NODES).await else { return Ok(None) };
                let decision = if decision == Decision::Approve { "approve" } else { "deny" };
                let form = [("flow", flow.as_str()), ("csrf_token", &csrf_token), ("decision", decision)];
                node.submit(&format!("/authorize/{label}?decide=client"), cookie, &form).await
            } else {
                return Ok(None);
            };
        }
        Err(TestCaseError::fail(format!("the flow has no end: {} {}", reply.status, reply.body)))
    }

    async fn csrf_token(&self, round: &Round, cookie: &str, node: usize) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.parse().ok()?);
        let found = self.current(round, node).app.sessions.find(&headers).await.unwrap();
        found.map(|signed_in| signed_in.csrf_token)
    }

    pub(super) async fn exchange(&self, round: &mut Round, (code, by): (&Index, By), node: usize) -> Checked {
        if round.model.codes.is_empty() {
            return Ok(());
        }
        let code = code.index(round.model.codes.len());
        let grant = round.model.codes[code].grant;
        let own = round.model.grants[grant].client;
        let others = || round.model.clients.iter().enumerate().filter(|(number, _)| *number != own);
        let client = match by {
            By::AnotherClient => {
                let upstream = round.model.clients[own].upstream;
                let same = others().find(|(_, client)| client.upstream == upstream && !client.gone);
                let Some((other, _)) = same.or_else(|| others().next()) else { return Ok(()) };
                other
            }
            By::ItsClient | By::SomebodyWithoutVerifier => own,
        };
        let now = self.clock.now();
        let expected = round.model.exchanges(code, by, now);
        let another = "x".repeat(43);
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", round.model.clients[client].id.as_str()),
            ("code", round.model.codes[code].text.as_str()),
            ("redirect_uri", CALLBACK),
            ("code_verifier", if by == By::SomebodyWithoutVerifier { another.as_str() } else { VERIFIER }),
        ];
        let label = &self.labels[round.model.grants[grant].upstream];
        let reply = self.current(round, node).post(label, "/token", &form).await;
        let issued = check(expected, &reply)?;
        if expected == Expected::Fatal {
            round.model.ended(grant);
        }
        if let Some(tokens) = issued {
            round.model.exchanged(code);
            round.model.issued(grant, tokens, None, now);
        }
        Ok(())
    }

    pub(super) async fn refresh(&self, round: &mut Round, token: &Index, node: usize) -> Checked {
        if round.model.refresh.is_empty() {
            return Ok(());
        }
        let token = token.index(round.model.refresh.len());
        let reply = self.asked_to_refresh(round, token, node).await;
        self.learn(round, token, &reply)
    }

    /// All that are not behind get the same token at once.
    pub(super) async fn race(&self, round: &mut Round, token: &Index) -> Checked {
        if round.model.refresh.is_empty() {
            return Ok(());
        }
        let token = token.index(round.model.refresh.len());
        let seen: &Round = round;
        let nodes = (0..NODES).filter(|node| matches!(seen.views[*node], View::Current));
        let replies = join_all(nodes.map(|node| self.asked_to_refresh(seen, token, node))).await;
        replies.iter().try_for_each(|reply| self.learn(round, token, reply))
    }

    async fn asked_to_refresh(&self, round: &Round, token: usize, node: usize) -> Reply {
        let token = &round.model.refresh[token];
        let grant = &round.model.grants[token.grant];
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", round.model.clients[grant.client].id.as_str()),
            ("refresh_token", token.text.as_str()),
        ];
        self.current(round, node).post(&self.labels[grant.upstream], "/token", &form).await
    }

    fn learn(&self, round: &mut Round, token: usize, reply: &Reply) -> Checked {
        let (now, grant) = (self.clock.now(), round.model.refresh[token].grant);
        let expected = round.model.refreshes(token, now);
        let issued = check(expected, reply)?;
        match (expected, issued) {
            (Expected::Tokens, Some(tokens)) => round.model.issued(grant, tokens, Some(token), now),
            (Expected::Again(successor), Some((access, refresh))) => {
                prop_assert_eq!(&refresh, &round.model.refresh[successor].text, "not the same successor");
                round.model.issued_again(grant, access, now);
            }
            (Expected::Fatal, _) => round.model.ended(grant),
            _ => {}
        }
        Ok(())
    }
}

/// The tokens of an answer that is as expected.
fn check(expected: Expected, reply: &Reply) -> Result<Option<(String, String)>, TestCaseError> {
    let issues = matches!(expected, Expected::Tokens | Expected::Again(_));
    prop_assert_eq!(reply.status == StatusCode::OK, issues, "expected {:?}: {} {}", expected, reply.status, reply.body);
    if !issues {
        prop_assert!(reply.status.is_client_error(), "{} {}", reply.status, reply.body);
        return Ok(None);
    }
    let tokens: Value = serde_json::from_str(&reply.body).map_err(|_| TestCaseError::fail(reply.body.clone()))?;
    let text =
        |name: &str| tokens[name].as_str().map(str::to_owned).ok_or_else(|| TestCaseError::fail(reply.body.clone()));
    Ok(Some((text("access_token")?, text("refresh_token")?)))
}

/// The value of a hidden field of a form.
fn value_of(page: &str, name: &str) -> Option<String> {
    let at = page.find(&format!("name=\"{name}\""))?;
    let value = page[at..].split("value=\"").nth(1)?;
    Some(value.split('"').next()?.to_owned())
}
