//! What an MCP server received: leak tests look here for what should not have come this far.

use axum::http::{HeaderMap, Method, header};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::VecDeque;

/// How many requests, and how many messages, are kept; the oldest go first.
const KEPT: usize = 4096;

/// A request as it arrived, before anything was checked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// All headers.
    pub headers: HeaderMap,
}

impl Request {
    /// A header's text; the first one, when there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What arrived so far.
#[derive(Default)]
pub struct Recorder {
    requests: Mutex<VecDeque<Request>>,
    messages: Mutex<VecDeque<Value>>,
}

impl Recorder {
    /// Every request to an MCP endpoint, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().iter().cloned().collect()
    }

    /// Every JSON-RPC message that was let in, oldest first.
    pub fn messages(&self) -> Vec<Value> {
        self.messages.lock().iter().cloned().collect()
    }

    /// Every bearer token presented.
    pub fn bearers(&self) -> Vec<String> {
        let values = self.values(header::AUTHORIZATION.as_str());
        values.iter().filter_map(|value| value.strip_prefix("Bearer ")).map(str::to_owned).collect()
    }

    /// Every `Cookie` header.
    pub fn cookies(&self) -> Vec<String> {
        self.values(header::COOKIE.as_str())
    }

    /// Every value of a header, over all requests.
    pub fn values(&self, name: &str) -> Vec<String> {
        let requests = self.requests.lock();
        let values = requests.iter().flat_map(|request| request.headers.get_all(name));
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.requests.lock().clear();
        self.messages.lock().clear();
    }

    pub(super) fn request(&self, request: Request) {
        keep(&mut self.requests.lock(), request);
    }

    pub(super) fn message(&self, message: Value) {
        keep(&mut self.messages.lock(), message);
    }
}

fn keep<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == KEPT {
        queue.pop_front();
    }
    queue.push_back(item);
}
