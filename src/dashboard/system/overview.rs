//! `/system`: version, processes, certificates, upstreams, signing keys.

use crate::administration::records::{KeyState, NewSigningKey, SigningAlgorithm, SigningKey};
use crate::certificates::{CertificateStatus, Kind, State as Standing};
use crate::clock::Timestamp;
use crate::dashboard::failure::Failure;
use crate::dashboard::sent::Deciding;
use crate::dashboard::{Dashboard, rows};
use crate::page::{self, CertificateRow, Moment, NodeRow, Place, SigningKeyRow, SystemPage, UpstreamHealthRow};
use crate::store::{Node, SeenNode};
use crate::upstream::{Note, State as Circuit};
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A process says every half a minute that it is there; one of which nothing was heard for longer than this is in trouble.
const SILENT: Duration = Duration::from_secs(90);

/// The busiest say enough.
const MOST_UPSTREAMS: usize = 50;

/// `GET /system`
pub(super) async fn show(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, Place::System.address()).await?;
    let now = dashboard.clock.now();
    let nodes = dashboard.store.nodes().await?;
    let keys = dashboard.administration.signing_keys().await?;
    let notes = dashboard.health.notes().into_iter().take(MOST_UPSTREAMS);
    Ok(page::system(&SystemPage {
        account: rows::account(&person),
        version: VERSION,
        nodes: nodes.into_iter().map(|node| dashboard.node_row(node, now)).collect(),
        certificates: dashboard.certificates.status().into_iter().map(|one| certificate(one, now)).collect(),
        upstreams: notes.map(|note| dashboard.health_row(note, now)).collect(),
        keys: keys.items.into_iter().map(|key| signing_key(key, now)).collect(),
    }))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RotateForm {
    at_once: Option<String>,
}

/// `POST /system/keys/rotate`
pub(super) async fn rotate_keys(
    State(dashboard): State<Arc<Dashboard>>,
    Deciding(sent): Deciding<RotateForm>,
) -> Result<Response, Failure> {
    let new = NewSigningKey { algorithm: None, at_once: sent.form.at_once.is_some() };
    let made = dashboard.administration.rotate_signing_keys(&sent.actor(), &new).await?;
    let notice = match new.at_once {
        true => format!("The key {} signs from now on. What other keys signed is refused.", made.kid),
        false => format!("The key {} is published. It signs a day from now.", made.kid),
    };
    Ok(dashboard.done(&sent.person, Place::System.address(), &notice))
}

impl Dashboard {
    fn node_row(&self, SeenNode { node, silent }: SeenNode, now: Timestamp) -> NodeRow {
        let Node { id, host, pid, version, started_at, ending, streams, memory, behind_ms } = node;
        let (tone, state) = match () {
            () if silent > SILENT => ("bad", "Silent".to_owned()),
            () if behind_ms > 0 => ("bad", "Turns requests away".to_owned()),
            () if ending => ("quiet", "Ends when its streams do".to_owned()),
            () => ("good", "Serves".to_owned()),
        };
        let behind = u64::try_from(behind_ms).ok().filter(|behind| *behind > 0).map(Duration::from_millis);
        NodeRow {
            tone,
            state,
            host: if host.is_empty() { "unnamed machine".to_owned() } else { host },
            pid,
            other_version: version != VERSION,
            version,
            this_one: id == self.node,
            since: Moment::new(started_at, now),
            heard: if silent < Duration::from_secs(60) {
                "just now".to_owned()
            } else {
                format!("{} ago", rows::span(silent))
            },
            streams,
            memory: if memory > 0 { format!("{} MiB", memory >> 20) } else { String::new() },
            behind: behind.map(rows::span),
        }
    }

    fn health_row(&self, note: Note, now: Timestamp) -> UpstreamHealthRow {
        let (tone, state) = match (note.state, &note.last_failure) {
            (Circuit::Closed, None) => ("good", "Answers"),
            (Circuit::Closed, Some(_)) => ("quiet", "Failed last"),
            (Circuit::Open, _) => ("bad", "Out of order"),
            (Circuit::Probing, _) => ("bad", "Out of order, being tried again"),
        };
        let known = self.registry.by_authority(&note.authority);
        UpstreamHealthRow {
            name: known.map_or_else(|| note.authority.to_string(), |known| self.connections.display_name(&known)),
            authority: note.authority.to_string(),
            tone,
            state,
            requests: note.requests,
            failures: note.failures,
            refused: note.refused,
            waiting: note.waiting,
            last_failure: note.last_failure.map(|(at, why)| (Moment::new(at, now), why)),
        }
    }
}

fn certificate(one: CertificateStatus, now: Timestamp) -> CertificateRow {
    let (tone, state) = match one.state {
        Standing::Valid if one.last_error.is_some() => ("bad", "Good, and cannot be renewed"),
        Standing::Valid => ("good", "Good"),
        Standing::Expiring => ("bad", "Should have been renewed"),
        Standing::Expired => ("bad", "Expired"),
        Standing::Missing => ("bad", "Missing"),
    };
    CertificateRow {
        names: one.names,
        origin: match one.kind {
            Kind::Files => "From files, which somebody else renews",
            Kind::Acme => "Ordered and renewed by the gateway",
        },
        tone,
        state,
        ends: one.not_after.map(|end| Moment::new(end, now)),
        renewal: one.renew_at.map(|at| Moment::new(at, now)),
        last_error: one.last_error,
    }
}

fn signing_key(key: SigningKey, now: Timestamp) -> SigningKeyRow {
    let (tone, state) = match key.state {
        KeyState::Published => ("quiet", "Published, does not sign yet"),
        KeyState::Signing => ("good", "Signs"),
        KeyState::Verifying => ("quiet", "Signs no more, is still believed"),
        KeyState::Spent => ("quiet", "Spent"),
    };
    SigningKeyRow {
        kid: key.kid,
        algorithm: match key.algorithm {
            SigningAlgorithm::ES256 => "ES256",
            SigningAlgorithm::EdDSA => "EdDSA",
        },
        tone,
        state,
        signs: Moment::new(key.signs_from.0, now),
        believed: key.verifies_until.map(|end| Moment::new(end.0, now)),
    }
}
