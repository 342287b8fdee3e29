//! What is taken away and given, as the pages, the command line and the endpoints do it.

use super::super::events::Change;
use super::super::reference::ACCESS_LIFE;
use super::{Checked, Play, Round};
use crate::store::{Decision, Upstream, UpstreamAccess, UpstreamTools};
use http::StatusCode;
use proptest::sample::Index;
use proptest::{prop_assert, prop_assert_eq};

const GROUP: &str = "team";

impl Play {
    /// Changes something at a node, be it behind or not: it is written into the database in any case.
    pub(super) async fn change(&self, round: &mut Round, change: &Change, node: usize) -> Checked {
        let revocations = &self.nodes[node].app.revocations;
        let pick = |index: &Index, count: usize| (count > 0).then(|| index.index(count));
        match change {
            Change::RevokeGrant(index) => {
                if let Some(grant) = pick(index, round.grants.len()) {
                    revocations.grant(round.grants[grant]).await.unwrap();
                }
            }
            Change::Withdraw(index) => {
                if let Some(grant) = pick(index, round.grants.len()) {
                    let row = self.nodes[node].app.store.grant(round.grants[grant]).await.unwrap();
                    if let Some(row) = row {
                        revocations.withdraw(&row).await.unwrap();
                    }
                }
            }
            Change::RevokeRefreshToken(index) => {
                if let Some(token) = pick(index, round.model.refresh.len()) {
                    let token = &round.model.refresh[token];
                    let client = round.model.grants[token.grant].client;
                    self.revoke(round, (client, &token.text), node).await?;
                }
            }
            Change::RevokeAccessToken(index) => self.revoke_access_token(round, index, node).await?,
            Change::RevokeForeign(index) => self.revoke_foreign(round, index, node).await?,
            Change::RemoveClient(index) => {
                let client = &round.model.clients[index.index(round.model.clients.len())];
                let realm = self.labels[client.upstream].to_string();
                revocations.client(Some(&realm), &client.id).await.unwrap();
            }
            Change::Disconnect { person, upstream } => {
                let store = &self.nodes[node].app.store;
                let user = round.people[*person].id;
                let row = store.connection(user, &self.authorities[*upstream], "").await.unwrap();
                prop_assert_eq!(row.is_some(), round.model.people[*person].connections[*upstream].is_some());
                if let Some(row) = row {
                    revocations.connection(row.id).await.unwrap();
                }
            }
            _ => self.administrate(round, change, node).await,
        }
        round.model.changed(change);
        Ok(())
    }

    /// What administrators say about people and upstreams.
    async fn administrate(&self, round: &Round, change: &Change, node: usize) {
        let revocations = &self.nodes[node].app.revocations;
        match change {
            Change::Disable(person) => _ = revocations.disable(round.people[*person].id).await.unwrap(),
            Change::Enable(person) => _ = revocations.enable(round.people[*person].id).await.unwrap(),
            Change::RemovePerson(person) => _ = revocations.person(round.people[*person].id).await.unwrap(),
            Change::SignOutEverywhere { person, applications } => {
                revocations.sign_out_everywhere(round.people[*person].id, *applications).await.unwrap();
            }
            Change::Approve(upstream) => self.decide(*upstream, Decision::Approved, node).await,
            Change::Deny(upstream) => self.decide(*upstream, Decision::Denied, node).await,
            Change::Undecide(upstream) => _ = revocations.undecide(&self.authorities[*upstream]).await.unwrap(),
            Change::Join(person) => {
                if !round.model.people[*person].removed {
                    revocations.join(&round.people[*person], GROUP).await.unwrap();
                }
            }
            Change::Leave(person) => {
                let left = revocations.leave(&round.people[*person], GROUP).await;
                assert_eq!(left.is_ok(), round.model.people[*person].is_member);
            }
            Change::Restrict { upstream, to, group } => {
                let users = to.iter().map(|person| round.people[*person].id).collect();
                let groups = group.then(|| GROUP.to_owned()).into_iter().collect();
                let authority = self.authorities[*upstream].clone();
                revocations.restrict(&UpstreamAccess { authority, users, groups }).await.unwrap();
            }
            Change::Unrestrict(upstream) => _ = revocations.unrestrict(&self.authorities[*upstream]).await.unwrap(),
            Change::Tool { upstream, denied } => {
                let authority = self.authorities[*upstream].clone();
                if *denied {
                    let tools = UpstreamTools { authority, allowed: None, denied: vec!["delete".to_owned()] };
                    revocations.permit_tools(&tools).await.unwrap();
                } else {
                    revocations.permit_all_tools(&authority).await.unwrap();
                }
            }
            _ => unreachable!("{change:?} is no matter of theirs"),
        }
    }

    async fn decide(&self, upstream: usize, decision: Decision, node: usize) {
        let app = &self.nodes[node].app;
        let row = Upstream {
            authority: self.authorities[upstream].clone(),
            decision,
            alias: Some(self.labels[upstream].to_string()),
            name: None,
            decided_by: None,
            decided_at: app.clock.now(),
        };
        app.revocations.decide(&row).await.unwrap();
    }

    /// A valid access token ends its grant; one that is not valid any more ends nothing, and nobody is told which it was.
    async fn revoke_access_token(&self, round: &mut Round, index: &Index, node: usize) -> Checked {
        if round.model.access.is_empty() {
            return Ok(());
        }
        let token = round.model.access[index.index(round.model.access.len())].clone();
        let grant = &round.model.grants[token.grant];
        let valid = !grant.ended && self.clock.now().since(token.issued_at) < ACCESS_LIFE;
        self.revoke(round, (grant.client, &token.text), node).await?;
        if valid {
            round.model.ended(token.grant);
        }
        Ok(())
    }

    async fn revoke_foreign(&self, round: &Round, index: &Index, node: usize) -> Checked {
        if round.model.refresh.is_empty() {
            return Ok(());
        }
        let token = &round.model.refresh[index.index(round.model.refresh.len())];
        let own = &round.model.grants[token.grant];
        let mut others = round.model.clients.iter().enumerate();
        let other =
            others.find(|(number, client)| *number != own.client && client.upstream == own.upstream && !client.gone);
        match other {
            Some((other, _)) => self.revoke(round, (other, &token.text), node).await,
            None => Ok(()),
        }
    }

    /// A client says that a token is to end (RFC 7009).
    async fn revoke(&self, round: &Round, (client, token): (usize, &str), node: usize) -> Checked {
        let client = &round.model.clients[client];
        let form = [("client_id", client.id.as_str()), ("token", token)];
        let reply = self.current(round, node).post(&self.labels[client.upstream], "/revoke", &form).await;
        let expected = if client.gone { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        prop_assert!(reply.status == expected, "{} {}", reply.status, reply.body);
        Ok(())
    }
}
