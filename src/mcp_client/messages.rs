//! The messages of an answer: one or several of a JSON body, or those of a stream of events as they come.

use super::CallError;
use super::wire::Answer;
use crate::error::Fault;
use crate::http::{FetchError, Streamed};
use crate::life::Life;
use crate::mcp::rpc::{Rpc, RpcError};
use crate::mcp::sse::{EventStream, ServerEvent};
use crate::upstream::Turn;
use bytes::Bytes;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A body that is being read.
pub(super) struct Messages {
    /// Messages that have arrived and were not taken.
    ready: VecDeque<Rpc>,
    events: Option<Events>,
    life: Arc<Life>,
}

struct Events {
    streamed: Streamed,
    decoder: EventStream,
    /// What has arrived and was not decoded.
    rest: Bytes,
    _turn: Turn,
}

/// Why there are no more messages.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection was lost, or too much came.
    Lost(FetchError),
    /// What came is no message.
    Garbage(String),
    /// The person's authorization has ended.
    Over,
}

impl Messages {
    /// Those of an answer. A body that is not a stream is read whole, `limit` bytes and `patience` at most.
    pub(super) async fn of(answer: Answer, limit: usize, patience: Duration) -> Result<Self, Broken> {
        let is_events = answer.is_events();
        let Answer { streamed, mut turn, life } = answer;
        if is_events {
            turn.yields();
            let decoder = EventStream::new(limit);
            let events = Events { streamed, decoder, rest: Bytes::new(), _turn: turn };
            return Ok(Self { ready: VecDeque::new(), events: Some(events), life });
        }
        let body = tokio::select! { biased;
            () = life.ended() => return Err(Broken::Over),
            body = tokio::time::timeout(patience, streamed.whole(limit)) => body,
        };
        let body = body.map_err(|_| Broken::Lost(FetchError::Timeout("the upstream".to_owned())))?;
        let ready = parse(&body.map_err(Broken::Lost)?).map_err(|error| Broken::Garbage(error.message))?;
        Ok(Self { ready, events: None, life })
    }

    /// The next message; `None` at the end of the body.
    pub(super) async fn next(&mut self) -> Result<Option<Rpc>, Broken> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            let Some(event) = self.event().await? else { return Ok(None) };
            if event.kind == "message" {
                self.ready = parse(event.data.as_bytes()).map_err(|error| Broken::Garbage(error.message))?;
            }
        }
    }

    /// The next event, of whatever kind.
    pub(super) async fn event(&mut self) -> Result<Option<ServerEvent>, Broken> {
        let Some(events) = &mut self.events else { return Ok(None) };
        tokio::select! { biased;
            () = self.life.ended() => Err(Broken::Over),
            event = events.next() => event,
        }
    }

    /// The id to go on behind (`Last-Event-ID`), if the server numbers its events.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.events.as_ref()?.decoder.last_id()
    }

    /// How long the server wants us to wait before we come again.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.events.as_ref()?.decoder.retry().map(Duration::from_millis)
    }
}

impl Events {
    async fn next(&mut self) -> Result<Option<ServerEvent>, Broken> {
        loop {
            let mut rest = &self.rest[..];
            let event = self.decoder.next(&mut rest).map_err(|error| Broken::Garbage(error.to_string()))?;
            let taken = self.rest.len() - rest.len();
            // Slices share the bytes of the chunk.
            self.rest = self.rest.slice(taken..);
            if event.is_some() {
                return Ok(event);
            }
            match self.streamed.chunk().await.map_err(Broken::Lost)? {
                Some(chunk) => self.rest = chunk,
                None => return Ok(None),
            }
        }
    }
}

/// One message, or the batch that 2025-03-26 allows.
pub(super) fn parse(bytes: &[u8]) -> Result<VecDeque<Rpc>, RpcError> {
    let not_json = |why| RpcError::new(RpcError::PARSE_ERROR, format!("not JSON: {why}"));
    match serde_json::from_slice(bytes).map_err(not_json)? {
        Value::Array(batch) => batch.into_iter().map(Rpc::from_json).collect(),
        single => Rpc::from_json(single).map(|message| VecDeque::from([message])),
    }
}

impl From<Broken> for CallError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Lost(error) => error.into(),
            Broken::Garbage(why) => Fault::upstream("the upstream's answer is not MCP", why).into(),
            Broken::Over => CallError::NeedsConsent,
        }
    }
}
