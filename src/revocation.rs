//! The one owner of ends. Whatever revokes something calls this: it is written into the database, where every other
//! process learns of it from the journal of changes, and then memory follows: tokens, credentials and open streams end.

mod people;

pub use people::check_group;

use crate::clock::Clock;
use crate::connect::Connections;
use crate::error::Fault;
use crate::ids::{ConnectionId, GrantId, UserId};
use crate::oauth::grant_type::GrantType;
use crate::oauth::registration::ClientMetadata;
use crate::store::{self, Change, Client, Ended, Grant, Store, StoreError, Upstream};
use crate::tokens::GrantLives;
use crate::upstream::Registry;
use std::sync::Arc;

/// Ends grants, clients, connections, people, and the use of upstreams. What is not durable has not happened: when the
/// database fails, memory stays as it is and whoever asked is told.
pub struct Revocations {
    store: Store,
    clock: Clock,
    memory: Option<Memory>,
}

/// What a process that serves requests remembers.
pub struct Memory {
    /// Of the tokens in memory.
    pub lives: Arc<GrantLives>,
    /// Credentials.
    pub connections: Arc<Connections>,
    /// Upstreams.
    pub registry: Arc<Registry>,
}

impl Revocations {
    /// For a process that serves requests.
    pub fn new(store: Store, clock: Clock, memory: Memory) -> Self {
        Self { store, clock, memory: Some(memory) }
    }

    /// For a process beside it, such as the command line: the one that serves follows the journal.
    pub fn beside_a_server(store: Store, clock: Clock) -> Self {
        Self { store, clock, memory: None }
    }

    /// Ends a grant, and those derived from it, with their tokens, codes and open streams; `false` when it had ended before or is unknown.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn grant(&self, id: GrantId) -> Result<bool, StoreError> {
        let revoked = self.store.revoke_grant(id, self.clock.now()).await?;
        let mut grants = self.store.derived_grants(id).await?;
        grants.push(id);
        // Also when somebody else was faster: the journal has not been read yet.
        self.forget(&Ended { grants, connections: Vec::new() });
        Ok(revoked)
    }

    /// Ends a grant because its person says so. A client that needs nobody's consent for another one goes with it, or the
    /// person's word would be worth nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn withdraw(&self, grant: &Grant) -> Result<(), StoreError> {
        let client = self.store.client(&grant.realm, &grant.client_id).await?;
        let asks_nobody = |client: &Client| {
            let metadata = ClientMetadata::from_stored(client.metadata.as_bytes());
            metadata.is_ok_and(|metadata| metadata.allows(GrantType::ClientCredentials))
        };
        if client.is_some_and(|client| client.owner == Some(grant.user) && asks_nobody(&client)) {
            self.client(Some(&grant.realm), &grant.client_id).await?;
        }
        self.grant(grant.id).await?;
        Ok(())
    }

    /// Removes a client from one realm, or from all of them, with everything that people granted to it there. How many
    /// grants that were; `None` when there is no such client.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn client(&self, realm: Option<&str>, id: &str) -> Result<Option<usize>, StoreError> {
        let Some(grants) = self.store.revoke_client(realm, id, self.clock.now()).await? else { return Ok(None) };
        let ended = Ended { grants, connections: Vec::new() };
        self.forget(&ended);
        Ok(Some(ended.grants.len()))
    }

    /// Deletes a person's connection with its tokens; what is open with them ends. `false` when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn connection(&self, id: ConnectionId) -> Result<bool, StoreError> {
        let deleted = self.store.delete_connection(id).await?;
        self.forget(&Ended { grants: Vec::new(), connections: vec![id] });
        Ok(deleted)
    }

    /// How many requests and streams of this process the end of a connection would break off, now.
    pub fn open_with(&self, id: ConnectionId) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.connections.answers_with(id))
    }

    /// How many the end of a grant would break off. Not counted are those of grants derived from it.
    pub fn open_under(&self, id: GrantId) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.lives.answers_under(id))
    }

    /// Keeps a connection in place of the one that there is, which ends with everything that is open with it: what people
    /// give by hand replaces what they gave before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn replace_connection(&self, connection: &store::Connection) -> Result<(), StoreError> {
        let ended = self.store.replace_connection(connection).await?;
        self.forget(&Ended { grants: Vec::new(), connections: ended.into_iter().collect() });
        self.selected(connection.user);
        Ok(())
    }

    /// A person has selected something else for `/mcp`. Nothing ends by it; lists change.
    pub fn selected(&self, user: UserId) {
        if let Some(memory) = &self.memory {
            memory.connections.lists_changed(user);
        }
    }

    /// Signs all browsers of a person out and, where that is asked for, ends what the person granted to applications. How
    /// many grants that were.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sign_out_everywhere(&self, user: UserId, applications: bool) -> Result<usize, StoreError> {
        self.store.delete_sessions_of(user).await?;
        if !applications {
            return Ok(0);
        }
        let grants = self.store.revoke_grants_of_user(user, self.clock.now()).await?;
        let ended = Ended { grants, connections: Vec::new() };
        self.forget(&ended);
        Ok(ended.grants.len())
    }

    /// Records an administrator's decision about an upstream. What is open at one that is denied ends.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the alias belongs to another upstream; when the store fails.
    pub async fn decide(&self, upstream: &Upstream) -> Result<(), Fault> {
        self.store.put_upstream(upstream).await?;
        self.follow_upstreams().await
    }

    /// Forgets the decision about an upstream; what is open there ends unless everybody may use unknown ones. `false`
    /// when there was none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn undecide(&self, authority: &str) -> Result<bool, Fault> {
        let deleted = self.store.delete_upstream(authority).await?;
        self.follow_upstreams().await?;
        Ok(deleted)
    }

    /// Takes over what another process wrote into the journal. Doing it twice does no harm.
    ///
    /// # Errors
    /// When the store fails: then memory does not know of the change yet.
    pub async fn follow(&self, change: Change) -> Result<(), Fault> {
        match (change, &self.memory) {
            (Change::GrantRevoked(id), Some(memory)) => memory.lives.end(id),
            (Change::ConnectionChanged(id), Some(memory)) => memory.connections.catch_up(id).await?,
            (Change::UpstreamsChanged, Some(_)) => self.follow_upstreams().await?,
            (Change::PeopleChanged, Some(_)) => self.follow_people().await?,
            (Change::SelectionChanged(user), Some(memory)) => memory.connections.lists_changed(user),
            (Change::KeysChanged | Change::CertificatesChanged, _) | (_, None) => {}
        }
        Ok(())
    }

    /// Takes over whatever may have happened to connections, people and upstreams, where the journal does not tell any more.
    ///
    /// # Errors
    /// When the store fails: then memory is not current yet.
    pub async fn catch_up_with_all(&self) -> Result<(), Fault> {
        let Some(memory) = &self.memory else { return Ok(()) };
        memory.connections.catch_up_with_all().await?;
        self.follow_upstreams().await
    }

    fn forget(&self, ended: &Ended) {
        let Some(memory) = &self.memory else { return };
        ended.grants.iter().for_each(|grant| memory.lives.end(*grant));
        ended.connections.iter().for_each(|connection| memory.connections.cut_off(*connection));
    }

    async fn follow_upstreams(&self) -> Result<(), Fault> {
        let Some(memory) = &self.memory else { return Ok(()) };
        let limited = memory.registry.limited();
        memory.registry.reload().await?;
        memory.connections.leave_unusable_upstreams();
        memory.connections.leave_relimited_upstreams(&limited);
        Ok(())
    }
}
