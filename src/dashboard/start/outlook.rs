//! `/start/outlook`: what sign-in a server is going to want, looked at while the person watches. Only somebody who is signed in and
//! sends our own form makes this gateway ask anybody.

use super::address::start_address;
use crate::connect::{ConnectError, Outlook, Registering, Sight, SignIn};
use crate::dashboard::connect::{Goal, not_permitted};
use crate::dashboard::failure::{Failure, message};
use crate::dashboard::sent::Sent;
use crate::dashboard::{Dashboard, rows};
use crate::doctor::{self, Outcome, Step, Target};
use crate::page::{self, OutlookPage, OutlookStep, plain_name};
use crate::session::SignedIn;
use crate::store::Role;
use crate::upstream::Standing;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct OutlookForm {
    server: String,
}

/// `POST /start/outlook`: as a page, or step by step as events for `start.js`.
pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    sent: Sent<OutlookForm>,
) -> Result<Response, Failure> {
    let goal = match dashboard.goal(&sent.form.server, "") {
        Ok(goal) => goal,
        Err(answer) => return Ok(answer),
    };
    if let Some(refusal) = dashboard.may_not_look(&sent.person, &goal).await? {
        return Ok(refusal);
    }
    dashboard.limits.check_registration(sent.client)?;
    let Some(seat) = dashboard.doctor.glance() else {
        let text = "Other servers are being looked at. Try again in a minute.";
        return Ok(message(StatusCode::TOO_MANY_REQUESTS, "Too many at once", text, None));
    };
    let authority = goal.upstream.authority.to_string();
    dashboard.record(&sent, "upstream.examined", &authority);
    let (found, mut steps) = unbounded_channel();
    tokio::spawn({
        let dashboard = dashboard.clone();
        async move {
            let _seat = seat;
            // Nobody is asked for somebody who has left.
            tokio::select! {
                () = dashboard.look(&goal, &found) => {}
                () = found.closed() => {}
            }
        }
    });
    if wants_events(&headers) {
        return Ok(events(steps));
    }
    let mut all = Vec::new();
    while let Some(step) = steps.recv().await {
        all.push(step);
    }
    Ok(page::outlook(&OutlookPage {
        account: rows::account(&sent.person),
        domain: &authority,
        steps: all,
        connect: Some(start_address(&sent.form.server, "", false)),
        back: url::form_urlencoded::Serializer::new(String::new()).append_pair("domain", &sent.form.server).finish(),
    }))
}

impl Dashboard {
    /// The page for somebody who may not make us ask this server: nobody does before it is approved, but those who approve.
    async fn may_not_look(&self, person: &SignedIn, goal: &Goal) -> Result<Option<Response>, Failure> {
        let domain = goal.upstream.authority.as_str();
        match goal.upstream.standing {
            Standing::AwaitingApproval if person.user.role == Role::Administrator => Ok(None),
            Standing::AwaitingApproval => Ok(Some(message(
                StatusCode::FORBIDDEN,
                "This server is not approved yet",
                &format!(
                    "An administrator has to approve {domain} first. Until then this gateway does not talk to it."
                ),
                Some("Ask one, then try again."),
            ))),
            Standing::Allowed if self.registry.permits(person.user.id, &goal.upstream.authority).await? => Ok(None),
            Standing::Allowed => Ok(Some(not_permitted(person, goal))),
        }
    }

    async fn look(&self, goal: &Goal, found: &UnboundedSender<OutlookStep>) {
        let tell = |step| {
            let _ = found.send(step);
        };
        if !goal.upstream.authority.is_program() {
            let steps = self.entrance(goal).await;
            let (names, door): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.id.id().starts_with("dns-"));
            let lost = names.iter().any(|step| step.outcome == Outcome::Failed);
            tell(entrance_step("Its name", &names));
            if lost {
                return;
            }
            tell(entrance_step("The way there", &door));
        }
        let (watch, mut sights) = unbounded_channel();
        let outlook = self.connections.outlook(&goal.upstream, goal.path.as_deref(), &watch);
        tokio::pin!(outlook);
        let outlook = loop {
            tokio::select! { biased;
                Some(sight) = sights.recv() => tell(sight_step(sight)),
                outlook = &mut outlook => break outlook,
            }
        };
        while let Ok(sight) = sights.try_recv() {
            tell(sight_step(sight));
        }
        outlook_steps(outlook).into_iter().for_each(tell);
    }

    async fn entrance(&self, goal: &Goal) -> Vec<Step> {
        let target = goal.upstream.authority.origin().parse::<Target>();
        let (Ok(target), Ok(tools)) = (target, self.doctor.tools()) else { return Vec::new() };
        doctor::entrance(&target, false, &tools.with_private_addresses(goal.upstream.allow_private)).await
    }
}

/// What the doctor saw, in one step.
fn entrance_step(title: &'static str, steps: &[Step]) -> OutlookStep {
    let failed = steps.iter().find(|step| step.outcome == Outcome::Failed);
    match failed {
        Some(step) => {
            let why = step.explanation.as_deref().unwrap_or_default();
            OutlookStep { title, tone: "bad", word: "fails", text: format!("{why} ({})", plain_name(&step.evidence)) }
        }
        None => {
            let told = ["dns-resolves", "tls-handshake", "tls-expiry"];
            let told = steps.iter().filter(|step| told.contains(&step.id.id()));
            let text = told.map(|step| plain_name(&step.evidence)).collect::<Vec<_>>().join(", ");
            OutlookStep { title, tone: "good", word: "works", text }
        }
    }
}

fn sight_step(sight: Sight) -> OutlookStep {
    let step = |title, tone, word, text: String| OutlookStep { title, tone, word, text };
    match sight {
        Sight::Answered { challenged: true } => {
            step("Without a token", "good", "asks for one", "It lets nobody in without a sign-in.".to_owned())
        }
        Sight::Answered { challenged: false } => {
            step("Without a token", "quiet", "does not ask", "It did not refuse somebody without a token.".to_owned())
        }
        Sight::Described(Some(url)) => step("Its description", "good", "found", plain_name(&url)),
        Sight::Described(None) => {
            let text = "It does not say where to sign in (RFC 9728); servers of early 2025 did not yet.".to_owned();
            step("Its description", "quiet", "none", text)
        }
        Sight::Server { issuer } => step("Authorization server", "good", "found", plain_name(&issuer)),
    }
}

fn outlook_steps(outlook: Result<Outlook, ConnectError>) -> Vec<OutlookStep> {
    const TITLE: &str = "Your sign-in";
    let none = |text: &str| vec![OutlookStep { title: TITLE, tone: "good", word: "none", text: text.to_owned() }];
    match outlook {
        Ok(Outlook::Open) => none("It asks for no authorization: there is nothing to connect."),
        Ok(Outlook::Shared) => none("An administrator has configured a key that everybody here shares."),
        Ok(Outlook::Personal(names)) => {
            let text = format!("This gateway will ask you for {}, and keep it encrypted.", names.join(", "));
            vec![OutlookStep { title: TITLE, tone: "good", word: "a value of yours", text }]
        }
        Ok(Outlook::OAuth(sign_in)) => sign_in_steps(&sign_in),
        Err(error) => {
            let text = error.fault.public.into_owned();
            vec![OutlookStep { title: TITLE, tone: "bad", word: "fails", text }]
        }
    }
}

fn sign_in_steps(sign_in: &SignIn) -> Vec<OutlookStep> {
    let (tone, word, text) = match &sign_in.registering {
        Registering::ByHand => ("good", "known", "An administrator has registered this gateway there.".to_owned()),
        Registering::Kept => ("good", "known", "This gateway has registered there before.".to_owned()),
        Registering::Itself => ("good", "possible", "It lets programs register themselves (RFC 7591).".to_owned()),
        Registering::Document => (
            "good",
            "not needed",
            "It reads this gateway's own description of itself, so nothing is registered.".to_owned(),
        ),
        Registering::Impossible(why) => ("bad", "not possible", why.clone()),
    };
    let can = !matches!(sign_in.registering, Registering::Impossible(_));
    let mut steps = vec![OutlookStep { title: "Registration", tone, word, text }];
    let scopes = sign_in.scopes.to_string();
    let text = if scopes.is_empty() { "Whatever it gives by default.".to_owned() } else { scopes.replace(' ', ", ") };
    steps.push(OutlookStep { title: "What is asked for", tone: "quiet", word: "scopes", text: plain_name(&text) });
    if can {
        let host = plain_name(&sign_in.host);
        let at = match &sign_in.provider {
            Some(provider) => format!("{provider} ({host})"),
            None => host,
        };
        let text = format!("You sign in at {at} and are asked there to let this gateway act for you.");
        steps.push(OutlookStep { title: "Your sign-in", tone: "good", word: "in the browser", text });
    }
    steps
}

fn wants_events(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"))
}

fn events(steps: UnboundedReceiver<OutlookStep>) -> Response {
    let events = stream::unfold(steps, |mut steps| async {
        let step = steps.recv().await?;
        let json = serde_json::to_string(&step).unwrap_or_default();
        Some((Ok::<_, Infallible>(Bytes::from(format!("data: {json}\n\n"))), steps))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(events)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::scope::Scopes;

    #[test]
    fn nobody_is_promised_a_sign_in_that_cannot_be() {
        let sign_in = |registering| {
            let scopes = Scopes::lenient("read write".split(' '));
            let (host, provider) = ("login.example".to_owned(), Some("Example".to_owned()));
            outlook_steps(Ok(Outlook::OAuth(Box::new(SignIn { host, provider, registering, scopes }))))
        };
        let steps = sign_in(Registering::Itself);
        assert_eq!(steps.last().unwrap().text.split(" and ").next(), Some("You sign in at Example (login.example)"));
        assert!(steps.iter().any(|step| step.text == "read, write"));
        let steps = sign_in(Registering::Impossible("Register by hand.".to_owned()));
        assert!(steps.iter().all(|step| step.title != "Your sign-in") && steps[0].text == "Register by hand.");
    }
}
