//! The rooms of programs and of the system.

use super::*;
use crate::clock::Timestamp;
use crate::config::{InForce, Section, Setting, Shown};

fn account() -> Account<'static> {
    Account { name: HOSTILE, csrf_token: HOSTILE, administrator: true, notice: Some(HOSTILE) }
}

fn hostile() -> String {
    HOSTILE.to_owned()
}

fn moment() -> Moment {
    Moment::new(Timestamp(0), Timestamp(7200))
}

fn service_row() -> BrokerServiceRow {
    BrokerServiceRow {
        name: hostile(),
        label: hostile(),
        client_id: Some(hostile()),
        scopes: vec![hostile()],
        has_pat: true,
    }
}

fn holder() -> ServiceHolderRow {
    ServiceHolderRow {
        user_id: hostile(),
        user: hostile(),
        state: Some(("bad", "Needs their consent again")),
        scopes: vec![hostile()],
        last_error: Some(hostile()),
        since: moment(),
    }
}

/// With hostile data in them.
pub(super) fn pages() -> Vec<Response> {
    let client = ClientRow {
        realm: hostile(),
        host: hostile(),
        id: hostile(),
        name: Some(hostile()),
        kind: "Registered",
        owner: Some(hostile()),
        grants: 2,
        grants_address: hostile(),
        created: Some(moment()),
        last_used: Some(moment()),
    };
    let grant = PersonsGrantRow {
        id: hostile(),
        user: hostile(),
        client: hostile(),
        resource: hostile(),
        scopes: vec![hostile()],
        since: moment(),
    };
    let key = ApiKeyRow {
        id: hostile(),
        name: hostile(),
        scopes: vec!["broker"],
        bounds: vec![("Services:", hostile())],
        created: moment(),
        expires: Some(moment()),
        expired: true,
        last_used: Some(moment()),
    };
    vec![
        clients(&ClientsPage { account: account(), rows: vec![client], next: Some(hostile()) }),
        new_client(&NewClientPage {
            account: account(),
            error: Some(HOSTILE),
            name: HOSTILE,
            user: HOSTILE,
            upstream: HOSTILE,
            scopes: HOSTILE,
            jwks_uri: HOSTILE,
            grant_types: [true; 3],
        }),
        once(&OncePage {
            account: account(),
            title: HOSTILE,
            text: HOSTILE,
            values: &[("client_secret", HOSTILE)],
            go_on: "/programs",
        }),
        grants(&GrantsPage {
            account: account(),
            user: HOSTILE,
            client: HOSTILE,
            error: Some(HOSTILE),
            rows: vec![grant],
            next: Some(hostile()),
        }),
        keys(&KeysPage {
            account: account(),
            rows: vec![key],
            error: Some(HOSTILE),
            name: HOSTILE,
            scopes: [true; 3],
            resources: HOSTILE,
            services: HOSTILE,
            users: HOSTILE,
            expires: HOSTILE,
        }),
        services(&ServicesPage { account: account(), rows: vec![service_row()] }),
        service(&ServicePage {
            account: account(),
            error: Some(HOSTILE),
            service: service_row(),
            connections: vec![holder()],
            next: Some(hostile()),
            pats: vec![holder()],
            next_pats: Some(hostile()),
        }),
        system_page(),
        configuration(&ConfigurationPage { account: account(), in_force: &in_force() }),
        notes(&NotesPage {
            account: account(),
            version: "0.1.0",
            title: HOSTILE,
            parts: &[(HOSTILE, vec![hostile()])],
        }),
    ]
}

fn system_page() -> Response {
    system(&SystemPage {
        account: account(),
        version: "0.1.0",
        nodes: vec![NodeRow {
            host: hostile(),
            pid: 1,
            version: hostile(),
            other_version: true,
            this_one: true,
            tone: "good",
            state: hostile(),
            since: moment(),
            heard: hostile(),
            streams: 1,
            memory: hostile(),
            behind: Some(hostile()),
        }],
        certificates: vec![CertificateRow {
            names: vec![hostile()],
            origin: "From files",
            tone: "bad",
            state: "Expired",
            ends: Some(moment()),
            renewal: Some(moment()),
            last_error: Some(hostile()),
        }],
        upstreams: vec![UpstreamHealthRow {
            name: hostile(),
            authority: hostile(),
            tone: "bad",
            state: "Out of order",
            requests: 1,
            failures: 1,
            refused: 0,
            waiting: 0,
            last_failure: Some((moment(), hostile())),
        }],
        keys: vec![SigningKeyRow {
            kid: hostile(),
            algorithm: "ES256",
            tone: "good",
            state: "Signs",
            signs: moment(),
            believed: Some(moment()),
        }],
    })
}

fn in_force() -> InForce {
    let setting = |value| Setting { key: "key", value, given: Some(hostile()), waits: true };
    let values = [Shown::Unset, Shown::Secret, Shown::Text(hostile()), Shown::Text(String::new())];
    InForce {
        sections: vec![Section { name: hostile(), settings: values.into_iter().map(setting).collect() }],
        files: vec![hostile().into()],
    }
}
