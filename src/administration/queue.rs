//! Upstreams about which nobody has decided: who wants to use them.

use super::records::{Asked, Moment, Standing, Upstream};
use super::upstreams::of_registry;
use super::{Administration, Refused};
use crate::hostname::{Authority, Label};
use crate::upstream;
use std::collections::HashMap;
use std::sync::Arc;

/// The most upstreams that are listed as awaiting a decision; strangers can make up as many as they like.
const MAX_AWAITING: usize = 50;
/// So many of those who asked are named.
const MAX_ASKED: usize = 5;

/// What waits, in the order in which it is listed.
#[derive(Default)]
struct Queue {
    order: Vec<Arc<upstream::Upstream>>,
    asked: HashMap<Authority, Vec<Asked>>,
}

impl Administration {
    /// Those that people asked for come first, the newest wish before all; then those at whose hostnames clients have
    /// registered, of which strangers can make up as many as they like.
    ///
    /// # Errors
    /// [`Refused::Failed`].
    pub(super) async fn awaiting(&self) -> Result<Vec<Upstream>, Refused> {
        let mut queue = Queue::default();
        for wish in self.store.upstream_requests(500).await? {
            let found = Authority::parse(&wish.row.authority).ok().and_then(|one| self.registry.by_authority(&one));
            let client = Some(wish.row.client).filter(|client| !client.is_empty());
            queue.add(found, Asked { user: wish.user_name, client, at: Moment(wish.row.asked_at) });
        }
        let mut clients = self.store.clients().await?;
        clients.sort_by_key(|client| std::cmp::Reverse(client.created_at));
        for client in clients {
            let Ok(label) = Label::parse(&client.realm) else { continue };
            let metadata: serde_json::Value = serde_json::from_str(&client.metadata).unwrap_or_default();
            let name = metadata["client_name"].as_str().map(str::to_owned);
            let asked = Asked { user: None, client: name.or(Some(client.id)), at: Moment(client.created_at) };
            queue.add(self.registry.find(&Label { account: None, ..label }), asked);
        }
        Ok(queue.listed())
    }
}

impl Queue {
    fn add(&mut self, upstream: Option<Arc<upstream::Upstream>>, asked: Asked) {
        let awaits = |one: &Arc<upstream::Upstream>| one.standing == upstream::Standing::AwaitingApproval;
        let Some(upstream) = upstream.filter(awaits) else { return };
        let all = self.asked.entry(upstream.authority.clone()).or_default();
        if all.is_empty() {
            self.order.push(upstream);
        }
        if all.len() < MAX_ASKED {
            all.push(asked);
        }
    }

    fn listed(mut self) -> Vec<Upstream> {
        let asked = |one: &upstream::Upstream, all: &mut HashMap<Authority, Vec<Asked>>| all.remove(&one.authority);
        let first = self.order.iter().take(MAX_AWAITING);
        first
            .map(|one| Upstream {
                asked: asked(one, &mut self.asked).unwrap_or_default(),
                ..of_registry(one, Standing::Awaiting)
            })
            .collect()
    }
}
