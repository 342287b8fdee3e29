//! One of the clients on a channel.

use super::channel::{Multiplexer, UnderWay};
use super::hearing::{Acknowledged, Hold, Pause, by_capabilities, subscription};
use super::switchboard::{Answered, Port};
use super::{Call, CallError, Event, Events, Filter, Listening, Principal, Server};
use crate::error::Fault;
use crate::life::Life;
use crate::mcp::rpc::{Id, Members, Notification, Response, Rpc, RpcError};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// A client's place on a channel; given up when dropped.
pub(super) struct Line {
    channel: Arc<Multiplexer>,
    server: Arc<Server>,
    port: Port,
    principal: Principal,
    /// That of the person's authorization.
    life: Arc<Life>,
}

impl Line {
    /// A place on a channel whose server is known.
    pub(super) fn new(
        (channel, server): (Arc<Multiplexer>, Arc<Server>),
        principal: Principal,
        life: Arc<Life>,
    ) -> Arc<Self> {
        let port = channel.board.plug();
        Arc::new(Self { channel, server, port, principal, life })
    }

    pub(super) fn channel(&self) -> &Arc<Multiplexer> {
        &self.channel
    }

    /// What the server said about itself.
    pub(super) fn server(&self) -> Arc<Server> {
        self.server.clone()
    }

    pub(super) fn is_busy(&self) -> bool {
        self.channel.board.is_busy(self.port)
    }

    pub(super) async fn request(&self, call: Call, events: &Events) -> Result<Value, CallError> {
        tokio::select! { biased;
            () = self.life.ended() => Err(CallError::NeedsConsent),
            outcome = self.channel.request((self.port, &self.principal), call, events) => outcome,
        }
    }

    pub(super) async fn notify(&self, notification: Notification) -> Result<(), CallError> {
        self.check()?;
        if self.channel.is_modern() {
            return Ok(());
        }
        self.channel.send(Rpc::Notification(notification)).await
    }

    /// Answers a question that was put to this client.
    pub(super) async fn respond(&self, id: Id, outcome: Result<Value, RpcError>) -> Result<(), CallError> {
        self.check()?;
        if !self.channel.board.take_asked(self.port, &id) {
            return Err(Fault::caller("the upstream does not wait for this answer").into());
        }
        self.channel.send(Rpc::Response(Response { id: Some(id), outcome })).await
    }

    pub(super) async fn listen(&self, filter: Filter, events: Events) -> Result<Listening, CallError> {
        self.check()?;
        let channel = &self.channel;
        let wanted = if channel.is_modern() { filter } else { by_capabilities(&self.server, filter) };
        let number = channel.board.listen(self.port, wanted.clone(), events);
        let hold = Hold { board: channel.board.clone(), number };
        if !channel.is_modern() {
            channel.subscribe_to(&wanted.subscribed, &self.principal).await?;
        }
        let needs_keeping = channel.is_modern() || !wanted.subscribed.is_empty();
        if needs_keeping && !channel.hearing.kept.swap(true, Ordering::AcqRel) {
            tokio::spawn(hear(Arc::downgrade(channel), self.principal.clone()));
        }
        let acknowledged = if channel.is_modern() { channel.hearing.agreed(wanted).await } else { wanted };
        Ok(Listening { acknowledged, _hold: hold, _used: None })
    }

    fn check(&self) -> Result<(), CallError> {
        if self.life.has_ended() {
            return Err(CallError::NeedsConsent);
        }
        self.channel.board.ended().map_or(Ok(()), Err)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.channel.board.unplug(self.port);
    }
}

impl Multiplexer {
    /// Subscribes to what is not subscribed to.
    async fn subscribe_to(self: &Arc<Self>, uris: &BTreeSet<String>, principal: &Principal) -> Result<(), CallError> {
        if uris.is_empty() {
            return Ok(());
        }
        let mut subscribed = self.hearing.subscribed.lock().await;
        for uri in uris {
            if !subscribed.contains(uri) {
                self.of_everybody(subscription("resources/subscribe", uri), principal).await?;
                subscribed.insert(uri.clone());
            }
        }
        Ok(())
    }

    /// Ends subscriptions that nobody wants any more.
    async fn unsubscribe(self: &Arc<Self>, principal: &Principal) {
        let wanted = self.board.union().unwrap_or_default().subscribed;
        let mut subscribed = self.hearing.subscribed.lock().await;
        let superfluous: Vec<String> = subscribed.difference(&wanted).cloned().collect();
        for uri in superfluous {
            subscribed.remove(&uri);
            // A server that keeps telling is not listened to.
            drop(self.of_everybody(subscription("resources/unsubscribe", &uri), principal).await);
        }
    }

    async fn of_everybody(self: &Arc<Self>, call: Call, principal: &Principal) -> Result<Value, CallError> {
        let Call { method, mut params, .. } = call;
        if self.is_modern() {
            super::envelope::modern(&mut params, principal, None);
        }
        self.ask(&method, params).await
    }
}

/// Keeps what is listened to going on a channel, until nobody listens.
async fn hear(channel: std::sync::Weak<Multiplexer>, principal: Principal) {
    loop {
        let Some(strong) = channel.upgrade() else { return };
        let modern = strong.is_modern();
        drop(strong);
        if modern {
            hear_modern(&channel, &principal).await;
        } else {
            hear_legacy(&channel, &principal).await;
        }
        let Some(strong) = channel.upgrade() else { return };
        strong.hearing.kept.store(false, Ordering::Release);
        // Somebody may have come just now who found the place taken.
        if strong.board.union().is_none() || strong.hearing.kept.swap(true, Ordering::AcqRel) {
            return;
        }
    }
}

async fn hear_legacy(channel: &std::sync::Weak<Multiplexer>, principal: &Principal) {
    let Some(mut changes) = channel.upgrade().map(|channel| channel.board.wanted()) else { return };
    loop {
        changes.borrow_and_update();
        let Some(strong) = channel.upgrade() else { return };
        if strong.board.ended().is_some() {
            return;
        }
        strong.unsubscribe(principal).await;
        if strong.board.union().is_none() {
            return;
        }
        drop(strong);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// One subscription for all who share the channel.
async fn hear_modern(channel: &std::sync::Weak<Multiplexer>, principal: &Principal) {
    let Some(mut changes) = channel.upgrade().map(|channel| channel.board.wanted()) else { return };
    let mut pause = Pause::new();
    let mut present: Option<(UnderWay, Answered)> = None;
    loop {
        changes.borrow_and_update();
        let Some(strong) = channel.upgrade() else { return };
        let (Some(union), None) = (strong.board.union(), strong.board.ended()) else { return };
        let (sender, mut acknowledgements) = mpsc::channel(1);
        let begun = strong.begin_listening(&union, principal, &sender).await;
        drop(strong);
        let next = match begun {
            Ok(next) => next,
            Err(_) => return,
        };
        // The last one ends when the next one has begun.
        let _before = present.replace(next);
        let Some((_, answered)) = &mut present else { return };
        let mut acknowledged = false;
        loop {
            tokio::select! { biased;
                Some(event) = acknowledgements.recv(), if !acknowledged => {
                    acknowledged = true;
                    pause = Pause::new();
                    let granted = granted(&event);
                    if let Some(strong) = channel.upgrade() {
                        strong.hearing.acknowledge(Acknowledged { asked: union.clone(), granted });
                    }
                }
                outcome = &mut *answered => {
                    let Some(strong) = channel.upgrade() else { return };
                    if !acknowledged || outcome.is_err() {
                        let granted = Filter::default();
                        strong.hearing.acknowledge(Acknowledged { asked: union.clone(), granted });
                    }
                    drop(strong);
                    pause.wait(None).await;
                    break;
                }
                changed = changes.changed() => {
                    let Some(strong) = channel.upgrade() else { return };
                    if changed.is_err() || strong.board.union().as_ref() != Some(&union) {
                        break;
                    }
                }
            }
        }
    }
}

fn granted(event: &Event) -> Filter {
    match event {
        Event::Notification(told) => told.params.get("notifications").map(Filter::from_json).unwrap_or_default(),
        Event::Request(_) => Filter::default(),
    }
}

impl Multiplexer {
    async fn begin_listening(
        self: &Arc<Self>,
        union: &Filter,
        principal: &Principal,
        acknowledgements: &Events,
    ) -> Result<(UnderWay, Answered), CallError> {
        let mut params = Members::new();
        params.insert("notifications".to_owned(), union.to_json());
        self.subscribe(params, (principal, acknowledgements)).await
    }
}
