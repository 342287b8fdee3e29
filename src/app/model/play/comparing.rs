//! After each step: every token at every hostname of every node.

use super::super::events::UPSTREAMS;
use super::super::node::Node;
use super::super::reference::{ACCESS_LIFE, Access, Model, Verdict};
use super::{Checked, Counts, Play, Round, View};
use crate::clock::Timestamp;
use crate::connect::{ConnectionKey, NoCredential};
use crate::tokens::Unverified;
use futures_util::FutureExt as _;
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};
use std::collections::BTreeSet;

impl Play {
    pub(super) async fn compare(&self, round: &mut Round) -> Checked {
        let mut counts = round.counts;
        for (number, (node, view)) in self.nodes.iter().zip(&round.views).enumerate() {
            let result = match view {
                View::Current => self.compare_with(round, node, &[&round.model], &mut counts).await,
                View::Behind(past) => {
                    let past: Vec<&Model> = past.iter().collect();
                    self.compare_with(round, node, &past, &mut counts).await
                }
                View::CutOff => self.lets_nobody_in(round, node),
            };
            result.map_err(|error| TestCaseError::fail(format!("node {number}: {error}")))?;
        }
        round.counts = counts;
        Ok(())
    }

    /// A node that changed something does not wait for the journal to tell it so.
    pub(super) async fn knows_at_once(&self, round: &mut Round, number: usize) -> Checked {
        if matches!(round.views[number], View::Current) {
            let mut counts = round.counts;
            let result = self.compare_with(round, &self.nodes[number], &[&round.model], &mut counts).await;
            result.map_err(|error| TestCaseError::fail(format!("node {number}, at once: {error}")))?;
            round.counts = counts;
        }
        Ok(())
    }

    /// What a node answers has to be what one of these models says.
    async fn compare_with(&self, round: &Round, node: &Node, models: &[&Model], counts: &mut Counts) -> Checked {
        let now = self.clock.now();
        for (number, token) in round.model.access.iter().enumerate() {
            for at in 0..UPSTREAMS {
                let expected = verdicts(round, models, token, (at, now));
                let answer = node.trial.admits(&self.host(at), &token.text).await;
                counts.trials += 1;
                let seen = match &answer {
                    Ok(key) => {
                        let person = round.people.iter().position(|person| person.id == key.user);
                        prop_assert_eq!(key.target.as_str(), self.authorities[at].as_str());
                        person.map_or(Verdict::Refused, Verdict::Admitted)
                    }
                    Err(status) => {
                        prop_assert!(matches!(status.as_u16(), 401 | 403 | 404), "{}", status);
                        Verdict::Refused
                    }
                };
                let whose = &round.model.grants[token.grant];
                prop_assert!(
                    expected.contains(&seen),
                    "token {number} of {whose:?} at upstream {at}: {answer:?}, expected {expected:?}"
                );
                if let (Ok(key), Verdict::Admitted(person)) = (answer, seen) {
                    counts.admitted += 1;
                    self.injects(node, models, (person, at), &key).await?;
                }
            }
        }
        if let [model] = models {
            self.tools_are_as_said(node, model)?;
        }
        Ok(())
    }

    /// What is injected for a person is what the upstream gave for this person, or nothing.
    async fn injects(
        &self,
        node: &Node,
        models: &[&Model],
        (person, at): (usize, usize),
        key: &ConnectionKey,
    ) -> Checked {
        let expected: BTreeSet<_> = models.iter().map(|model| model.people[person].connections[at].clone()).collect();
        let seen = match node.app.connections.credential(key).await {
            Ok(credential) if credential.life().has_ended() => None,
            Ok(credential) => {
                let token = credential.access_token().unwrap_or_default();
                let name = token.strip_prefix("at.").and_then(|rest| rest.rsplit_once('.'));
                Some(name.ok_or_else(|| TestCaseError::fail(token.to_owned()))?.0.to_owned())
            }
            Err(NoCredential::NeedsConsent) => None,
            Err(trouble) => return Err(TestCaseError::fail(format!("{trouble:?}"))),
        };
        // Whoever is behind may find out by itself that there is nothing any more, or that there is something new.
        let expected: BTreeSet<_> = match models {
            [_] => expected,
            _ => expected.into_iter().chain([None]).collect(),
        };
        prop_assert!(
            expected.contains(&seen),
            "person {} at upstream {}: {:?}, expected {:?}",
            person,
            at,
            seen,
            expected
        );
        Ok(())
    }

    /// Nothing is looked up in a memory that may be wrong: requests wait, and are told to come again.
    fn lets_nobody_in(&self, round: &Round, node: &Node) -> Checked {
        prop_assert!(!node.app.tokens.freshness().is_current());
        for token in &round.model.access {
            let verified = node.app.tokens.verify(&token.text);
            prop_assert!(matches!(verified, Err(Unverified::Outdated(_))), "let in by a node that was cut off");
            for at in 0..UPSTREAMS {
                let answer = node.trial.admits(&self.host(at), &token.text).now_or_never();
                prop_assert!(!matches!(answer, Some(Ok(_))), "let in by a node that was cut off");
            }
        }
        Ok(())
    }

    fn tools_are_as_said(&self, node: &Node, model: &Model) -> Checked {
        for (label, upstream) in self.labels.iter().zip(&model.upstreams) {
            if let Some(found) = node.app.registry.find(label) {
                let permitted = found.tools.as_ref().is_none_or(|tools| tools.permits("delete"));
                prop_assert_eq!(permitted, !upstream.tool_denied, "a rule about tools at {}", label);
            }
        }
        Ok(())
    }

    fn host(&self, upstream: usize) -> String {
        let origin = self.nodes[0].app.site.origin_of(&self.labels[upstream]);
        origin.split_once("://").unwrap().1.to_owned()
    }
}

/// What a node may answer that knows what held in one of these models, of grants in one and of upstreams in another.
fn verdicts(round: &Round, models: &[&Model], token: &Access, (at, now): (usize, Timestamp)) -> BTreeSet<Verdict> {
    let grant = &round.model.grants[token.grant];
    let is_for_it = grant.upstream == at && now.since(token.issued_at) < ACCESS_LIFE;
    let in_force = || models.iter().map(|model| model.is_in_force(token));
    let usable = || models.iter().map(|model| model.may_use(grant.person, at));
    let mut verdicts = BTreeSet::new();
    if is_for_it && in_force().any(|yes| yes) && usable().any(|yes| yes) {
        verdicts.insert(Verdict::Admitted(grant.person));
    }
    if !is_for_it || in_force().any(|yes| !yes) || usable().any(|yes| !yes) {
        verdicts.insert(Verdict::Refused);
    }
    verdicts
}
