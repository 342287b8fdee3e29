//! What a server says unasked, over Streamable HTTP: the GET stream of a legacy session, or one `subscriptions/listen` for
//! everything that anybody wants to hear of. It is kept open by a task of its own, as long as anybody listens.

use super::envelope;
use super::messages::{Broken, Messages};
use super::session::{Refused, Session, post};
use super::streamable::Streamable;
use super::switchboard::Switchboard;
use super::{Call, CallError, Events, Filter, Listening, Server};
use crate::http::Reuse;
use crate::mcp::rpc::{Id, Members, Request, Rpc};
use futures_util::FutureExt;
use http::StatusCode;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long a listener waits to learn what the server agrees to.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause between two attempts to open a stream.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is heard, and whether anybody keeps it going.
#[derive(Default)]
pub(super) struct Hearing {
    pub(super) kept: AtomicBool,
    acknowledged: watch::Sender<Acknowledged>,
    /// What a legacy server was asked to tell about.
    pub(super) subscribed: tokio::sync::Mutex<BTreeSet<String>>,
}

impl Hearing {
    /// What of this a modern server agrees to; nothing, when it does not say in time.
    pub(super) async fn agreed(&self, wanted: Filter) -> Filter {
        let mut acknowledged = self.acknowledged.subscribe();
        let covers = |state: &Acknowledged| wanted.clone().within(&state.asked) == wanted;
        let state = tokio::time::timeout(PATIENCE, acknowledged.wait_for(covers)).await;
        match state {
            Ok(Ok(state)) => wanted.clone().within(&state.granted),
            _ => Filter::default(),
        }
    }

    /// What a modern server agreed to.
    pub(super) fn acknowledge(&self, acknowledged: Acknowledged) {
        self.acknowledged.send_replace(acknowledged);
    }
}

/// What a modern server was asked for, and what it agreed to.
#[derive(Clone, Default)]
pub(super) struct Acknowledged {
    pub(super) asked: Filter,
    pub(super) granted: Filter,
}

/// A listener's place; given up when dropped.
pub(super) struct Hold {
    pub(super) board: Arc<Switchboard>,
    pub(super) number: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.board.unlisten(self.number);
    }
}

/// What a legacy server tells about, by its capabilities.
pub(super) fn by_capabilities(server: &Server, filter: Filter) -> Filter {
    let says = |kind: &str, what: &str| {
        server.capabilities.get(kind).and_then(|of_kind| of_kind.get(what)).and_then(Value::as_bool).unwrap_or(false)
    };
    let subscribes = says("resources", "subscribe");
    Filter {
        tools: filter.tools && says("tools", "listChanged"),
        prompts: filter.prompts && says("prompts", "listChanged"),
        resources: filter.resources && says("resources", "listChanged"),
        subscribed: if subscribes { filter.subscribed } else { BTreeSet::new() },
    }
}

/// A `resources/subscribe` or its opposite.
pub(super) fn subscription(method: &str, uri: &str) -> Call {
    let mut params = Members::new();
    params.insert("uri".to_owned(), uri.into());
    Call { method: method.to_owned(), params, log_level: None, mirrored: Vec::new() }
}

/// A pause that doubles as long as nothing works.
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn new() -> Self {
        Self(Duration::from_millis(500))
    }

    pub(super) async fn wait(&mut self, at_least: Option<Duration>) {
        let pause = at_least.unwrap_or_default().max(self.0).min(LONGEST_PAUSE);
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
    }
}

impl Streamable {
    /// Hears what the server says unasked, as long as the result is kept.
    pub(super) async fn listen(self: &Arc<Self>, filter: Filter, events: Events) -> Result<Listening, CallError> {
        let session = self.session.load_full();
        let wanted = if session.is_modern() { filter } else { by_capabilities(&session.server, filter) };
        let hold = Hold { board: self.board.clone(), number: self.board.listen(self.port, wanted.clone(), events) };
        self.keep_hearing();
        let acknowledged = if session.is_modern() {
            self.hearing.agreed(wanted).await
        } else {
            self.subscribe(&wanted.subscribed).await?;
            wanted
        };
        Ok(Listening { acknowledged, _hold: hold, _used: None })
    }

    fn keep_hearing(self: &Arc<Self>) {
        if !self.hearing.kept.swap(true, Ordering::AcqRel) {
            tokio::spawn(self.clone().hear());
        }
    }

    async fn hear(self: Arc<Self>) {
        let mut pause = Pause::new();
        loop {
            let heard = match self.session.load().is_modern() {
                true => self.hear_modern(&mut pause).await,
                false => self.hear_legacy(&mut pause).await,
            };
            if let Err(over) = heard {
                self.board.end(&over);
            }
            self.hearing.kept.store(false, Ordering::Release);
            // Somebody may have come just now who found the place taken.
            if self.board.union().is_none() || self.hearing.kept.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }

    /// Until nobody listens.
    async fn hear_modern(self: &Arc<Self>, pause: &mut Pause) -> Result<(), CallError> {
        let mut changes = self.board.wanted();
        let mut before: Option<Messages> = None;
        while let Some(union) = self.union(&mut changes) {
            let mut stream = match self.subscriptions(&union).await {
                Ok(stream) => stream,
                Err(CallError::NeedsConsent) => return Err(CallError::NeedsConsent),
                Err(error) => {
                    tracing::debug!(?error, "an upstream refuses a subscription");
                    let nothing = Acknowledged { asked: union, granted: Filter::default() };
                    self.hearing.acknowledge(nothing);
                    tokio::select! {
                        () = pause.wait(None) => {}
                        _ = changes.changed() => {}
                    }
                    continue;
                }
            };
            loop {
                let message = tokio::select! { biased;
                    message = stream.next() => message,
                    _ = changes.changed() => {
                        if self.board.union().as_ref() != Some(&union) {
                            before = Some(stream);
                            break;
                        }
                        continue;
                    }
                };
                match message {
                    Ok(Some(Rpc::Notification(told))) if told.method == "notifications/subscriptions/acknowledged" => {
                        let granted = told.params.get("notifications").map(Filter::from_json).unwrap_or_default();
                        self.hearing.acknowledge(Acknowledged { asked: union.clone(), granted });
                        *pause = Pause::new();
                        self.drain(before.take());
                    }
                    Ok(Some(message @ Rpc::Notification(_))) => drop(self.board.take(message)),
                    Err(Broken::Over) => return Err(CallError::NeedsConsent),
                    Ok(Some(Rpc::Request(_))) => {}
                    // Its response is its end.
                    Ok(Some(Rpc::Response(_)) | None) | Err(_) => {
                        pause.wait(stream.retry()).await;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// What came by the last stream before the next one had begun.
    fn drain(&self, before: Option<Messages>) {
        let Some(mut before) = before else { return };
        while let Some(Ok(Some(message))) = before.next().now_or_never() {
            drop(self.board.take(message));
        }
    }

    async fn subscriptions(&self, union: &Filter) -> Result<Messages, CallError> {
        let session = self.session.load_full();
        let method = "subscriptions/listen";
        let mut params = Members::new();
        params.insert("notifications".to_owned(), union.to_json());
        envelope::modern(&mut params, &self.principal, None);
        let mut headers = session.headers();
        envelope::mirrors(method, &params, &mut headers);
        let request = Request { id: Id::from(self.board.number()), method: method.to_owned(), params };
        let answer = post(&self.wire, self.to(), (headers, Reuse::Repeat), Rpc::Request(request)).await?;
        if !answer.streamed.status.is_success() || !answer.is_events() {
            return Err(Refused::of(answer).await.into());
        }
        let limits = &self.wire.limits;
        Ok(Messages::of(answer, limits.max_message, limits.response_timeout).await?)
    }

    /// Until nobody listens.
    async fn hear_legacy(self: &Arc<Self>, pause: &mut Pause) -> Result<(), CallError> {
        let mut changes = self.board.wanted();
        let (mut last_id, mut subscribed_in) = (None::<String>, self.session.load_full());
        while self.union(&mut changes).is_some() {
            let session = self.session.load_full();
            if !Arc::ptr_eq(&session, &subscribed_in) {
                // Another session knows nothing of the subscriptions of the last one.
                self.hearing.subscribed.lock().await.clear();
                (last_id, subscribed_in) = (None, session.clone());
            }
            self.match_subscriptions().await;
            let opened = tokio::select! { biased;
                opened = self.open_stream(&session, last_id.as_deref()) => opened,
                _ = changes.changed() => continue,
            };
            let stream = match opened {
                Ok(answer) if answer.streamed.status.is_success() && answer.is_events() => answer,
                Ok(answer) if answer.streamed.status == StatusCode::METHOD_NOT_ALLOWED => {
                    // There is no such stream.
                    drop(answer);
                    drop(changes.changed().await);
                    continue;
                }
                Ok(answer) if answer.streamed.status == StatusCode::NOT_FOUND && session.id.is_some() => {
                    drop(answer);
                    drop(self.renew(&session).await);
                    pause.wait(None).await;
                    continue;
                }
                Err(CallError::NeedsConsent) => return Err(CallError::NeedsConsent),
                Ok(_) | Err(_) => {
                    pause.wait(None).await;
                    continue;
                }
            };
            let limits = &self.wire.limits;
            let mut stream = Messages::of(stream, limits.max_message, limits.response_timeout).await?;
            self.hear_stream(&mut stream, &mut changes, (pause, &session)).await?;
            last_id = stream.last_id().map(str::to_owned).or(last_id);
            if self.board.union().is_some() {
                pause.wait(stream.retry()).await;
            }
        }
        self.match_subscriptions().await;
        Ok(())
    }

    /// Until the stream ends, or nobody listens.
    async fn hear_stream(
        self: &Arc<Self>,
        stream: &mut Messages,
        changes: &mut watch::Receiver<u64>,
        (pause, session): (&mut Pause, &Arc<Session>),
    ) -> Result<(), CallError> {
        loop {
            let message = tokio::select! { biased;
                message = stream.next() => message,
                _ = changes.changed() => {
                    self.match_subscriptions().await;
                    if self.board.union().is_none() || !Arc::ptr_eq(&self.session.load_full(), session) {
                        return Ok(());
                    }
                    continue;
                }
            };
            match message {
                Ok(Some(message)) => {
                    *pause = Pause::new();
                    if let Some(reply) = self.board.take(message) {
                        // Whoever does not get it asks again.
                        drop(self.tell(reply).await);
                    }
                }
                Ok(None) | Err(Broken::Lost(_)) => return Ok(()),
                Err(Broken::Garbage(why)) => {
                    tracing::debug!(upstream = %self.upstream.authority, why, "a stream of events is broken");
                    return Ok(());
                }
                Err(Broken::Over) => return Err(CallError::NeedsConsent),
            }
        }
    }

    fn union(&self, changes: &mut watch::Receiver<u64>) -> Option<Filter> {
        changes.borrow_and_update();
        self.board.union()
    }

    /// Subscribes to what is not subscribed to.
    async fn subscribe(self: &Arc<Self>, uris: &BTreeSet<String>) -> Result<(), CallError> {
        if uris.is_empty() {
            return Ok(());
        }
        let mut subscribed = self.hearing.subscribed.lock().await;
        let (unread, _) = mpsc::channel(1);
        for uri in uris {
            if !subscribed.contains(uri) {
                Box::pin(self.request(subscription("resources/subscribe", uri), &unread)).await?;
                subscribed.insert(uri.clone());
            }
        }
        Ok(())
    }

    /// Makes the server's idea of what is subscribed to the listeners'.
    async fn match_subscriptions(self: &Arc<Self>) {
        let wanted = self.board.union().unwrap_or_default().subscribed;
        if let Err(error) = self.subscribe(&wanted).await {
            tracing::debug!(?error, "a resource could not be subscribed to again");
        }
        let mut subscribed = self.hearing.subscribed.lock().await;
        let superfluous: Vec<String> = subscribed.difference(&wanted).cloned().collect();
        let (unread, _) = mpsc::channel(1);
        for uri in superfluous {
            subscribed.remove(&uri);
            drop(Box::pin(self.request(subscription("resources/unsubscribe", &uri), &unread)).await);
        }
    }
}
