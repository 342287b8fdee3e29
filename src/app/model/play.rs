//! Plays orders on the nodes and on the model, and compares.

mod changing;
mod comparing;
mod flowing;

use super::events::{Event, NODES, PEOPLE, UPSTREAMS};
use super::node::Node;
use super::reference::{ACCESS_LIFE, Model, Person, REFRESH_LIFE, Standing};
use super::upstream::{self, Server};
use crate::clock::Clock;
use crate::connect::ConnectionKey;
use crate::connect::tests::seeding::{Given, row};
use crate::hostname::{Authority, Label, Realm};
use crate::ids::{Digest, GrantId, Random, UserId};
use crate::store::{Decision, Grant, RefreshToken, Role, Upstream, User};
use crate::tokens::NewToken;
use proptest::test_runner::TestCaseError;
use std::sync::Arc;
use tempfile::TempDir;

/// Three nodes on one database, where one order is played after the other, each by people of its own.
pub(super) struct Play {
    home: TempDir,
    clock: Clock,
    server: Arc<Server>,
    /// Where it is.
    token_endpoint: String,
    nodes: Vec<Node>,
    authorities: [String; UPSTREAMS],
    labels: [Label; UPSTREAMS],
    pub(super) orders: usize,
}

/// What an order knows besides the model.
struct Round {
    model: Model,
    people: Vec<User>,
    cookies: [String; PEOPLE],
    /// By the model's numbers.
    grants: Vec<GrantId>,
    /// What each node knows.
    views: [View; NODES],
    /// So that each authorization at the upstream has a name of its own.
    authorizations: usize,
    counts: Counts,
}

/// What a node knows of what happened.
#[derive(Default)]
enum View {
    /// Everything.
    #[default]
    Current,
    /// What held when it read the journal last, and perhaps something of what came then.
    Behind(Vec<Model>),
    /// It does not trust its memory.
    CutOff,
}

/// How much was compared.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) trials: usize,
    pub(super) admitted: usize,
}

type Checked = Result<(), TestCaseError>;

impl Play {
    pub(super) async fn new() -> Self {
        // On a disk in memory, where there is one: what is durable is not the question here.
        let shm = std::path::Path::new("/dev/shm");
        let home = if shm.is_dir() { TempDir::new_in(shm) } else { TempDir::new() }.unwrap();
        let clock = Clock::standing();
        let (server, address) = Server::start().await;
        let mut nodes = Vec::new();
        for number in 0..NODES {
            nodes.push(Node::start(home.path(), number, &clock).await);
        }
        // The first is where the server is; to the second nothing is ever sent.
        let authorities = [address.clone(), "files.example".to_owned()];
        let labels = ["notes", "files"].map(|alias| Label::parse(alias).unwrap());
        let token_endpoint = format!("http://{address}/token");
        Self { home, clock, server, token_endpoint, nodes, authorities, labels, orders: 0 }
    }

    /// Plays an order from the beginning.
    pub(super) async fn order(&mut self, events: &[Event]) -> (Checked, Counts) {
        self.orders += 1;
        let mut round = self.begin().await;
        let mut result = Ok(());
        for (number, event) in events.iter().enumerate() {
            result = self.step(&mut round, event).await;
            if let Err(TestCaseError::Fail(reason)) = &result {
                result = Err(TestCaseError::fail(format!("after step {number}, {event:?}: {reason}")));
            }
            if result.is_err() {
                break;
            }
        }
        if result.is_ok() && self.server.replays() > 0 {
            result = Err(TestCaseError::fail("a refresh token was sent to the upstream's server twice"));
        }
        (result, round.counts)
    }

    async fn step(&mut self, round: &mut Round, event: &Event) -> Checked {
        self.happen(round, event).await?;
        if let Event::Change { node, .. } = event {
            self.knows_at_once(round, *node).await?;
        }
        for (node, view) in self.nodes.iter_mut().zip(&mut round.views) {
            match view {
                View::Current => node.read_journal().await,
                View::Behind(past) => past.push(round.model.clone()),
                View::CutOff => {}
            }
        }
        self.compare(round).await
    }

    async fn happen(&mut self, round: &mut Round, event: &Event) -> Checked {
        match event {
            Event::Authorize { person, client, browser, decision, node } => {
                let client = client.index(round.model.clients.len());
                self.authorize(round, (*person, client), (*browser, *decision), *node).await?;
            }
            Event::Exchange { code, by, node } => self.exchange(round, (code, *by), *node).await?,
            Event::Refresh { token, node } => self.refresh(round, token, *node).await?,
            Event::Race { token } => self.race(round, token).await?,
            Event::Connect { person, upstream, node } => self.connect(round, *person, *upstream, *node).await,
            Event::Register { upstream, node } => self.register(round, *upstream, *node).await,
            Event::Change { what, node } => self.change(round, what, *node).await?,
            Event::Restart { node } => {
                self.nodes[*node] = Node::start(self.home.path(), *node, &self.clock).await;
                round.views[*node] = View::Current;
            }
            Event::Behind { node, for_long } => self.fall_behind(round, *node, *for_long),
            Event::Back { node, anew } => {
                if *anew {
                    self.nodes[*node].read_everything().await;
                }
                // Read after this, as it is by all that are not behind.
                round.views[*node] = View::Current;
            }
            Event::Interrupt { node } => _ = self.nodes[*node].app.lives.interrupt(),
            Event::Wait(duration) => self.clock.advance(*duration),
            Event::Sweep { node } => {
                round.model.swept(self.clock.now());
                self.nodes[*node].app.sweep_once(&mut None).await;
            }
        }
        Ok(())
    }

    /// At least one node goes on reading, so that something can still be issued.
    fn fall_behind(&self, round: &mut Round, node: usize, for_long: bool) {
        let others = (0..NODES).filter(|other| *other != node);
        if !others.into_iter().any(|other| matches!(round.views[other], View::Current)) {
            return;
        }
        if for_long {
            self.nodes[node].outlive_trust();
            round.views[node] = View::CutOff;
        } else if matches!(round.views[node], View::Current) {
            round.views[node] = View::Behind(vec![round.model.clone()]);
        }
    }

    /// The node itself, or the next one that is not behind.
    fn current(&self, round: &Round, node: usize) -> &Node {
        let next = (0..NODES).map(|step| (node + step) % NODES);
        let number = next.into_iter().find(|number| matches!(round.views[*number], View::Current)).unwrap();
        &self.nodes[number]
    }

    /// Everybody is there, signed in and connected, every upstream is approved, and has a client.
    async fn begin(&mut self) -> Round {
        let mut round = Round {
            model: Model::default(),
            people: Vec::new(),
            cookies: Default::default(),
            grants: Vec::new(),
            views: Default::default(),
            authorizations: 0,
            counts: Counts::default(),
        };
        let (random, now) = (Random::default(), self.clock.now());
        for (alias, authority) in ["notes", "files"].iter().zip(self.authorities.clone()) {
            let app = &self.nodes[0].app;
            let approved = Upstream {
                authority: authority.clone(),
                decision: Decision::Approved,
                alias: Some((*alias).to_owned()),
                name: None,
                decided_by: None,
                decided_at: now,
            };
            app.revocations.decide(&approved).await.unwrap();
            app.revocations.unrestrict(&authority).await.unwrap();
            app.revocations.permit_all_tools(&authority).await.unwrap();
        }
        for number in 0..PEOPLE {
            let id = UserId::random(&random);
            let user = User {
                id,
                name: format!("{number}-of-{}", self.orders),
                password_hash: None,
                email: None,
                role: Role::Member,
                disabled: false,
                created_at: now,
            };
            self.nodes[0].app.store.create_user(&user).await.unwrap();
            round.people.push(user);
            round.model.people[number] = Person::default();
            self.sign_in(&mut round, number, 0).await;
            for upstream in 0..UPSTREAMS {
                self.connect(&mut round, number, upstream, 0).await;
            }
        }
        for upstream in 0..UPSTREAMS {
            round.model.upstreams[upstream].standing = Standing::Approved;
            self.register(&mut round, upstream, 0).await;
        }
        for person in 0..PEOPLE {
            self.grant(&mut round, person, person % UPSTREAMS).await;
        }
        for node in &mut self.nodes {
            node.read_journal().await;
        }
        round
    }

    /// What a sign-in leaves behind: a grant with its tokens.
    async fn grant(&self, round: &mut Round, person: usize, client: usize) {
        let (app, random) = (&self.nodes[0].app, Random::default());
        let (now, registered) = (app.clock.now(), &round.model.clients[client]);
        let realm = Realm::Mcp(self.labels[registered.upstream].clone());
        let issuer = app.site.issuer(&realm);
        let grant = Grant {
            id: GrantId::random(&random),
            user: round.people[person].id,
            client_id: registered.id.clone(),
            client_name: String::new(),
            realm: realm.key(),
            resource: format!("{issuer}/mcp"),
            scope: String::new(),
            created_at: now,
            revoked_at: None,
        };
        app.store.insert_grant(&grant, None).await.unwrap();
        app.store.touch_client(&grant.realm, &grant.client_id, now).await.unwrap();
        let refresh = random.token().to_string();
        let row = RefreshToken {
            token: Digest::of(&refresh),
            grant: grant.id,
            issued_at: now,
            expires_at: now.after(REFRESH_LIFE),
            successor: None,
            first_used_at: None,
            dpop_jkt: None,
        };
        app.store.insert_refresh_token(&row).await.unwrap();
        let new = NewToken {
            issuer: &issuer,
            resource: &grant.resource,
            user: &round.people[person],
            client_id: &grant.client_id,
            scope: "",
            grant: grant.id,
            ttl: ACCESS_LIFE,
            actor: None,
            confirmation: None,
        };
        let access = app.tokens.mint(&new).unwrap();
        round.grants.push(grant.id);
        let number = round.model.granted_before(person, client);
        round.model.issued(number, (access, refresh), None, now);
    }

    fn key(&self, round: &Round, person: usize, upstream: usize) -> ConnectionKey {
        let authority = Authority::parse(&self.authorities[upstream]).unwrap();
        ConnectionKey::upstream(round.people[person].id, authority, None)
    }

    /// A person consents at the upstream; what was there before ends.
    async fn connect(&self, round: &mut Round, person: usize, upstream: usize, node: usize) {
        if round.model.people[person].removed {
            return;
        }
        let app = &self.nodes[node].app;
        let name = format!("{}-{person}-{upstream}-{}", self.orders, round.authorizations);
        round.authorizations += 1;
        let (access, refresh) = self.server.consent(&name);
        let given = Given { access, refresh, token_endpoint: &self.token_endpoint, expires_in: upstream::LIFE };
        let row = row(&app.connections, &self.key(round, person, upstream), given);
        app.revocations.replace_connection(&row).await.unwrap();
        round.model.people[person].connections[upstream] = Some(name);
    }
}
