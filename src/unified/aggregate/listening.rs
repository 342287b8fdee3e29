//! What a caller hears unasked: what its members say, and that members came or went.

use super::Aggregate;
use super::members::{Member, Membership};
use super::naming::Naming;
use super::relay::{EVENTS, Ear, Questions};
use crate::connect::ConnectionKey;
use crate::mcp::era::Era;
use crate::mcp::rpc::{Members, Notification, RpcError};
use crate::mcp_client::{CallError, Client, Event, Filter};
use crate::unified::{Back, Caller};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// How often it is looked whether an administrator changed something.
const LOOK: Duration = Duration::from_millis(500);
/// Pauses between attempts to hear an upstream.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// Those who are listened to.
#[derive(Default)]
struct Heard {
    tasks: JoinSet<()>,
    of: HashMap<ConnectionKey, (Naming, AbortHandle)>,
}

impl Aggregate {
    /// Runs until the grant ends.
    pub(super) async fn hear_all(self: &Arc<Self>, caller: &Caller, filter: Filter, back: Back) {
        let caller = Arc::new(caller.clone());
        let mut news = self.parts.connections.news();
        let mut before: Option<Arc<Membership>> = None;
        let mut heard = Heard::default();
        loop {
            // A database in trouble changes nothing for the moment.
            if let Ok(members) = self.members(&caller).await {
                if before.as_ref().is_some_and(|before| !before.looks_like(&members)) {
                    say_all_changed(&filter, &back).await;
                }
                if before.as_ref().is_none_or(|before| !before.looks_like(&members)) {
                    self.attend(&mut heard, &caller, (&members, &filter, &back));
                }
                before = Some(members);
            }
            let generation = self.parts.registry.generation();
            let changed = async {
                let mut ticks = tokio::time::interval(LOOK);
                loop {
                    tokio::select! {
                        told = news.recv() => match told {
                            Ok(user) if user != caller.user => {}
                            Ok(user) => return self.memberships.forget(user),
                            Err(RecvError::Lagged(_)) => return self.memberships.forget(caller.user),
                            Err(RecvError::Closed) => std::future::pending().await,
                        },
                        _ = ticks.tick() => if self.parts.registry.generation() != generation { return },
                    }
                }
            };
            tokio::select! { biased;
                () = caller.life.ended() => return,
                () = changed => {}
            }
        }
    }

    /// Begins to listen to those who came, and stops where somebody went.
    fn attend(
        self: &Arc<Self>,
        heard: &mut Heard,
        caller: &Arc<Caller>,
        (members, filter, back): (&Membership, &Filter, &Back),
    ) {
        let there: HashMap<&ConnectionKey, &Arc<Member>> =
            members.ready().map(|member| (&member.key, member)).collect();
        heard.of.retain(|key, (naming, task)| {
            // A second member changes the names of the first.
            let stays = there.get(key).is_some_and(|member| member.naming == *naming);
            if !stays {
                task.abort();
            }
            stays
        });
        for (key, member) in there {
            if !heard.of.contains_key(key) {
                let (this, caller, member) = (self.clone(), caller.clone(), member.clone());
                let naming = member.naming.clone();
                let (wanted, back) = (for_member(&member, filter), back.clone());
                let task = heard.tasks.spawn(async move { this.hear_one(&caller, &member, (wanted, back)).await });
                heard.of.insert(key.clone(), (naming, task));
            }
        }
        // What has ended needs no place.
        while heard.tasks.try_join_next().is_some() {}
    }

    /// Listens to one member, again and again.
    async fn hear_one(&self, caller: &Caller, member: &Arc<Member>, (filter, back): (Filter, Back)) {
        let mut subscribed = self.sessions.of(caller).subscribed.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            let mut wanted = filter.clone();
            if let Some(more) = subscribed.borrow_and_update().get(&member.key) {
                wanted.subscribed.extend(more.iter().cloned());
            }
            let attempt = self.hear_until_it_ends(caller, member, (wanted, &back));
            tokio::select! {
                outcome = attempt => match outcome {
                    Ok(()) => pause = FIRST_PAUSE,
                    Err(error) => {
                        tracing::debug!(upstream = %member.authority(), ?error, "cannot be listened to");
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                },
                // Another subscription: at once.
                Ok(()) = subscribed.changed() => continue,
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn hear_until_it_ends(
        &self,
        caller: &Caller,
        member: &Member,
        (filter, back): (Filter, &Back),
    ) -> Result<(), CallError> {
        let client: Arc<Client> = self.client(caller, member).await?;
        if client.server().era == Era::Modern && filter == Filter::default() {
            return std::future::pending().await;
        }
        let (events, mut heard) = mpsc::channel::<Event>(EVENTS);
        let _listening = client.listen(filter, events).await?;
        let ear = Ear { caller, member, client: &client, back: Some(back) };
        let mut questions = Questions::new();
        loop {
            tokio::select! { biased;
                event = heard.recv() => match event {
                    Some(event) => self.hear(ear, event, &mut questions).await,
                    None => return Ok(()),
                },
                () = questions.next() => {}
            }
        }
    }

    /// A subscription of a legacy caller at an upstream that knows no such request: it becomes part of what is listened to. `false`
    /// where the upstream is asked itself.
    pub(super) async fn subscribes_for(
        &self,
        caller: &Caller,
        member: &Member,
        method: &str,
        uri: &str,
    ) -> Result<bool, RpcError> {
        if caller.era == Era::Modern {
            let why = format!("{method} is not known: use subscriptions/listen");
            return Err(RpcError::new(RpcError::METHOD_NOT_FOUND, why));
        }
        match self.client(caller, member).await {
            Ok(client) if client.server().era == Era::Modern => {
                self.sessions.of(caller).subscribed.send_modify(|all| {
                    let of_member: &mut BTreeSet<String> = all.entry(member.key.clone()).or_default();
                    match method {
                        "resources/subscribe" => of_member.insert(uri.to_owned()),
                        _ => of_member.remove(uri),
                    };
                });
                Ok(true)
            }
            // Whoever asks it is told what is wrong.
            Ok(_) | Err(_) => Ok(false),
        }
    }

    /// What of this will be told.
    pub(super) async fn acknowledged(&self, caller: &Caller, filter: &Filter) -> Filter {
        let Ok(members) = self.members(caller).await else { return filter.clone() };
        let known = |uri: &&String| super::calls::owner_of_uri(&members, uri).is_some();
        let subscribed = filter.subscribed.iter().filter(known).cloned().collect();
        Filter { subscribed, ..filter.clone() }
    }
}

/// What a member has to be asked for.
fn for_member(member: &Member, filter: &Filter) -> Filter {
    let own = |uri: &String| member.naming.original_uri(uri).map(|uri| uri.into_owned());
    Filter { subscribed: filter.subscribed.iter().filter_map(own).collect(), ..filter.clone() }
}

async fn say_all_changed(filter: &Filter, back: &Back) {
    for (wanted, kind) in [(filter.tools, "tools"), (filter.prompts, "prompts"), (filter.resources, "resources")] {
        if wanted {
            let method = format!("notifications/{kind}/list_changed");
            back.notify(Notification { method, params: Members::new() }).await;
        }
    }
}
