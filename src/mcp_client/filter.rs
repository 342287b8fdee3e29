//! What somebody wants to hear of.

use super::Filter;
use crate::mcp::rpc::Notification;
use serde_json::{Value, json};

impl Filter {
    /// What both want.
    pub(super) fn with(mut self, other: &Filter) -> Filter {
        self.tools |= other.tools;
        self.prompts |= other.prompts;
        self.resources |= other.resources;
        self.subscribed.extend(other.subscribed.iter().cloned());
        self
    }

    /// What both have.
    pub(super) fn within(mut self, other: &Filter) -> Filter {
        self.tools &= other.tools;
        self.prompts &= other.prompts;
        self.resources &= other.resources;
        self.subscribed.retain(|uri| other.subscribed.contains(uri));
        self
    }

    /// As it is written in `subscriptions/listen`.
    pub(super) fn to_json(&self) -> Value {
        let mut filter = serde_json::Map::new();
        for (name, wanted) in [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ] {
            if wanted {
                filter.insert(name.to_owned(), true.into());
            }
        }
        if !self.subscribed.is_empty() {
            filter.insert("resourceSubscriptions".to_owned(), json!(self.subscribed));
        }
        Value::Object(filter)
    }

    /// From an acknowledgement.
    pub(super) fn from_json(filter: &Value) -> Filter {
        let is = |name: &str| filter.get(name) == Some(&Value::Bool(true));
        let uris = filter.get("resourceSubscriptions").and_then(Value::as_array);
        Filter {
            tools: is("toolsListChanged"),
            prompts: is("promptsListChanged"),
            resources: is("resourcesListChanged"),
            subscribed: uris.into_iter().flatten().filter_map(|uri| Some(uri.as_str()?.to_owned())).collect(),
        }
    }

    /// Whether it is one of those that are wanted. An update may be of something below what was subscribed to.
    pub(super) fn wants(&self, notification: &Notification) -> bool {
        match notification.method.as_str() {
            "notifications/tools/list_changed" => self.tools,
            "notifications/prompts/list_changed" => self.prompts,
            "notifications/resources/list_changed" => self.resources,
            "notifications/resources/updated" => {
                let uri = notification.params.get("uri").and_then(Value::as_str).unwrap_or_default();
                let below = |known: &String| {
                    uri.strip_prefix(known.as_str())
                        .is_some_and(|rest| rest.is_empty() || known.ends_with('/') || rest.starts_with('/'))
                };
                self.subscribed.iter().any(below)
            }
            _ => false,
        }
    }
}

/// Whether a notification is of a kind that filters are about.
pub(super) fn is_change(notification: &Notification) -> bool {
    matches!(
        notification.method.as_str(),
        "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/resources/updated"
    )
}
