//! A request that is being worked on, and what comes out of it.

use crate::mcp::era::Era;
use crate::mcp::rpc::{Members, Notification, Request, RpcError};
use crate::unified::{Aggregate, Back, Caller, Outgoing, questions, wire};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How many questions of one request may be open.
const QUESTIONS: usize = 32;
/// How long the first of several questions waits for the others: they go to the person together.
const TOGETHER: Duration = Duration::from_millis(10);
/// How many notifications are kept meanwhile.
const HELD: usize = 64;

/// Requests that may be answered with questions (MCP 2026-07-28, Multi Round-Trip Requests).
const WITH_QUESTIONS: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// The work on one request. Dropping it cancels the request.
pub(super) struct Work {
    /// What to be sure of before it goes on: the same person, client, request.
    pub(super) origin: Origin,
    outgoing: mpsc::Receiver<Outgoing>,
    task: Task,
    outcome: Option<Result<Value, RpcError>>,
    held: VecDeque<Notification>,
    questions: Vec<Question>,
    /// Whether there are questions that the client has not heard.
    asking: bool,
    asked: u64,
}

/// Whose work it is, and on what.
pub(super) struct Origin {
    pub(super) caller: Caller,
    pub(super) method: String,
    /// Digest of the params that stay the same, see [`super::state`].
    pub(super) params: crate::ids::Digest,
}

/// What comes next.
pub(super) enum Step {
    /// Something to tell the client.
    Notification(Notification),
    /// The client has to answer first: [`Work::questions`].
    Questions,
    /// The result.
    Done(Result<Value, RpcError>),
}

struct Question {
    key: String,
    method: String,
    params: Members,
    answer: oneshot::Sender<Result<Value, RpcError>>,
}

/// A task that ends when nobody waits for it.
struct Task(JoinHandle<Result<Value, RpcError>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Work {
    /// Begins to work.
    pub(super) fn begin(aggregate: &Arc<Aggregate>, caller: Caller, request: Request) -> Self {
        let params = super::state::digest(&request);
        let origin = Origin { caller: caller.clone(), method: request.method.clone(), params };
        let aggregate = aggregate.clone();
        Self::of(origin, |back| async move { aggregate.handle(&caller, request, &back).await })
    }

    /// The same, whatever it is that is done.
    pub(super) fn of<W>(origin: Origin, work: impl FnOnce(Back) -> W) -> Self
    where
        W: Future<Output = Result<Value, RpcError>> + Send + 'static,
    {
        let (back, outgoing) = Back::new(wire::WAITING);
        // A task of its own: it goes on while the client answers a question.
        let task = Task(tokio::spawn(work(back)));
        Self {
            origin,
            outgoing,
            task,
            outcome: None,
            held: VecDeque::new(),
            questions: Vec::new(),
            asking: false,
            asked: 0,
        }
    }

    /// The next thing. Can be dropped and called again.
    pub(super) async fn step(&mut self) -> Step {
        loop {
            if let Some(notification) = self.held.pop_front() {
                return Step::Notification(notification);
            }
            self.questions.retain(|question| !question.answer.is_closed());
            if self.asking && !self.questions.is_empty() {
                self.asking = false;
                return Step::Questions;
            }
            if let Some(outcome) = self.outcome.take() {
                return Step::Done(outcome);
            }
            self.hear().await;
            if self.asking {
                // Times out nearly always: there is one question.
                let _ = tokio::time::timeout(TOGETHER, self.hear_on()).await;
            }
        }
    }

    /// Goes on while nobody looks: what the client would be told meanwhile is lost, questions and the outcome are kept. Never
    /// ends. Can be dropped and called again.
    pub(super) async fn wait(&mut self) -> std::convert::Infallible {
        loop {
            self.hear().await;
            self.held.clear();
        }
    }

    /// What the client is asked, as `inputRequests`.
    pub(super) fn questions(&self) -> Value {
        let asked = self
            .questions
            .iter()
            .map(|question| (question.key.clone(), json!({ "method": question.method, "params": question.params })));
        Value::Object(asked.collect())
    }

    /// Hands answers on. What is not among them is asked again.
    pub(super) fn answer(&mut self, mut responses: Members) {
        let questions = std::mem::take(&mut self.questions);
        for question in questions {
            match responses.remove(&question.key) {
                // Nobody may be waiting any more.
                Some(response) => drop(question.answer.send(Ok(response))),
                None => self.questions.push(question),
            }
        }
        self.asking = !self.questions.is_empty();
    }

    /// Tells everybody who has asked that there is no answer.
    pub(super) fn refuse(&mut self, error: &RpcError) {
        for question in self.questions.drain(..) {
            drop(question.answer.send(Err(error.clone())));
        }
        self.asking = false;
    }

    /// Takes the next thing that happens; does not end when nothing can happen any more.
    async fn hear(&mut self) {
        tokio::select! { biased;
            Some(outgoing) = self.outgoing.recv() => self.take(outgoing),
            ended = &mut self.task.0, if self.outcome.is_none() => {
                let failed = |_| Err(RpcError::new(RpcError::INTERNAL_ERROR, "an internal error occurred"));
                self.outcome = Some(ended.unwrap_or_else(failed));
            }
            else => std::future::pending().await,
        }
    }

    async fn hear_on(&mut self) {
        while self.held.len() < HELD && self.outcome.is_none() {
            self.hear().await;
        }
        std::future::pending().await
    }

    fn take(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Notification(notification) => {
                if questions::hears(Era::Modern, self.origin.caller.log_level.as_deref(), &notification) {
                    self.held.push_back(notification);
                }
            }
            Outgoing::Ask { asked, method, params, answer } => match self.may_ask(&method, &params) {
                Ok(()) => {
                    self.asked += 1;
                    let key = format!("{}-{}", asked.member, self.asked);
                    self.questions.push(Question { key, method, params, answer });
                    self.asking = true;
                }
                // Nobody may be waiting any more.
                Err(error) => drop(answer.send(Err(error))),
            },
        }
    }

    fn may_ask(&self, method: &str, params: &Members) -> Result<(), RpcError> {
        if !WITH_QUESTIONS.contains(&self.origin.method.as_str()) {
            let why = format!("a client cannot be asked anything while it waits for {}", self.origin.method);
            return Err(RpcError::new(RpcError::INVALID_REQUEST, why));
        }
        if self.questions.len() >= QUESTIONS {
            return Err(RpcError::new(RpcError::INTERNAL_ERROR, "too many questions at once"));
        }
        questions::may_be_asked(&self.origin.caller.capabilities, method, params)
    }
}
