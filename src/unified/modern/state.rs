//! `requestState` of ours: names suspended work, and is worth something to the same person and client with the same request only
//! (MCP 2026-07-28, Multi Round-Trip Requests, Server Requirements).

use super::work::Origin;
use crate::clock::Timestamp;
use crate::ids::Digest;
use crate::mcp::rpc::{Members, Request};
use crate::vault::Vault;
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

/// What the vault's mark on it is for.
const PURPOSE: &str = "suspended work";
/// What every state of ours begins with: those of upstreams pass through us unseen.
const OURS: &str = "portcullis-1.";
/// Members of a request that differ when it is sent again.
const CHANGING: [&str; 3] = ["_meta", "inputResponses", "requestState"];

/// Names suspended work.
pub(super) type Name = [u8; 16];

/// Digest of what has to be the same when a request is sent again. The order of members does not count.
pub(super) fn digest(request: &Request) -> Digest {
    let mut text = String::new();
    for (name, value) in sorted(&request.params).filter(|(name, _)| !CHANGING.contains(name)) {
        text.push_str(&Value::from(name).to_string());
        canonical(value, &mut text);
    }
    Digest::of(text)
}

/// The state of some work until `expires_at`.
pub(super) fn seal(vault: &Vault, name: &Name, expires_at: Timestamp, origin: &Origin) -> String {
    let mark = vault.mark(PURPOSE, &marked(name, expires_at, origin));
    let bytes = [&name[..], &expires_at.0.to_be_bytes(), &mark].concat();
    format!("{OURS}{}", BASE64URL_NOPAD.encode(&bytes))
}

/// Whether a state is one of ours.
pub(super) fn is_ours(state: &str) -> bool {
    state.starts_with(OURS)
}

/// The work that a state names; `None` when it is not exactly what [`seal`] made for the same person, client and request, or has
/// expired.
pub(super) fn open(vault: &Vault, state: &str, now: Timestamp, origin: &Origin) -> Option<Name> {
    let bytes = BASE64URL_NOPAD.decode(state.strip_prefix(OURS)?.as_bytes()).ok()?;
    let (name, rest) = bytes.split_first_chunk::<16>()?;
    let (expires_at, mark) = rest.split_first_chunk::<8>()?;
    let expires_at = Timestamp(i64::from_be_bytes(*expires_at));
    let is_good = vault.has_marked(PURPOSE, &marked(name, expires_at, origin), mark);
    (is_good && now < expires_at).then_some(*name)
}

fn marked(name: &Name, expires_at: Timestamp, origin: &Origin) -> Vec<u8> {
    let Origin { caller, method, params } = origin;
    let mut bytes = [&name[..], &expires_at.0.to_be_bytes(), &caller.user.0, &params.0].concat();
    // Neither has a line break.
    bytes.extend_from_slice(format!("{}\n{}\n{method}", caller.client_id, caller.session).as_bytes());
    bytes
}

fn sorted(members: &Members) -> impl Iterator<Item = (&str, &Value)> {
    let mut members: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), value)).collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    members.into_iter()
}

/// Depth is bounded by the parser.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            text.push('{');
            for (name, value) in sorted(members) {
                text.push_str(&Value::from(name).to_string());
                canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            items.iter().for_each(|item| {
                canonical(item, text);
                text.push(',');
            });
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
    text.push(';');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::rpc::Id;
    use serde_json::json;

    fn of(params: Value) -> Digest {
        let params = params.as_object().cloned().unwrap();
        digest(&Request { id: Id::from(1), method: "tools/call".to_owned(), params })
    }

    #[test]
    fn a_request_that_is_sent_again_is_known_by_what_stays_the_same() {
        let first = of(json!({ "name": "a", "arguments": { "x": 1, "y": [1, { "b": 2, "a": 1 }] } }));
        let again = of(json!({
            "arguments": { "y": [1, { "a": 1, "b": 2 }], "x": 1 },
            "inputResponses": {}, "requestState": "s", "_meta": { "progressToken": 2 }, "name": "a",
        }));
        assert_eq!(first, again);
        for other in [
            json!({ "name": "b", "arguments": { "x": 1, "y": [1, { "b": 2, "a": 1 }] } }),
            json!({ "name": "a", "arguments": { "x": 1, "y": [1, { "b": 2 }, { "a": 1 }] } }),
            json!({ "name": "a", "arguments": { "x": "1", "y": [1, { "b": 2, "a": 1 }] } }),
            json!({ "name": "a", "arguments": { "x": 1, "y": [1, { "b": 2, "a": 1 }], "requestState": 1 } }),
            json!({ "name": "a" }),
        ] {
            assert_ne!(of(other), first);
        }
    }
}
