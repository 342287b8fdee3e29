//! What may be said to a client unasked: log messages that it wants, and questions that it can answer.

use super::Asked;
use crate::ids::{Digest, Random};
use crate::mcp::era::Era;
use crate::mcp::level::severity;
use crate::mcp::rpc::{Id, Members, Notification, RpcError};
use crate::vault::Vault;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};

/// What begins the id of every question of ours.
const QUESTION: &str = "q.";
/// What the vault's mark in it is for.
const PURPOSE: &str = "question in a session";
/// What stands for the id of a question that no upstream waits for.
const NOBODY: &str = "-";

/// Whether a client of this era, which wants messages from `level` on, hears a notification. Modern clients that name no level
/// want none (MCP 2026-07-28, Logging), legacy ones leave it to the server.
pub(super) fn hears(era: Era, level: Option<&str>, notification: &Notification) -> bool {
    if notification.method != "notifications/message" {
        return true;
    }
    let Some(level) = level else { return era == Era::Legacy };
    let said = notification.params.get("level").and_then(Value::as_str).and_then(severity);
    said.zip(severity(level)).is_none_or(|(said, wanted)| said >= wanted)
}

/// Whether a client with these capabilities can be asked this.
///
/// # Errors
/// What the asker is told: a client is never asked what it did not say it can answer.
pub(super) fn may_be_asked(capabilities: &Members, method: &str, params: &Members) -> Result<(), RpcError> {
    let required = match method {
        "sampling/createMessage" if params.contains_key("tools") => json!({ "sampling": { "tools": {} } }),
        "sampling/createMessage" => json!({ "sampling": {} }),
        "elicitation/create" if params.get("mode").and_then(Value::as_str) == Some("url") => {
            json!({ "elicitation": { "url": {} } })
        }
        "elicitation/create" => json!({ "elicitation": {} }),
        "roots/list" => json!({ "roots": {} }),
        _ => return Err(RpcError::new(RpcError::METHOD_NOT_FOUND, format!("clients do not answer {method}"))),
    };
    let declared = Value::Object(capabilities.clone());
    if has(&declared, &required) {
        return Ok(());
    }
    let name = required.as_object().and_then(|members| members.keys().next()).cloned().unwrap_or_default();
    let why = format!("the client has not declared the capability {name:?} that {method} needs");
    Err(RpcError::new(RpcError::MISSING_CLIENT_CAPABILITY, why).with(json!({ "requiredCapabilities": required })))
}

/// Whether every member of `required` is an object in `declared`, all the way down.
fn has(declared: &Value, required: &Value) -> bool {
    let Some(required) = required.as_object() else { return true };
    required.iter().all(|(name, below)| declared.get(name).is_some_and(|found| found.is_object() && has(found, below)))
}

/// The id under which a legacy client is asked: it names who asks, so that any process can hand the answer on, and is marked as
/// one of this session: programs that several people share tell them apart by nothing else.
pub(super) fn question_id(asked: &Asked, session: &Digest, (vault, random): (&Vault, &Random)) -> String {
    let id = match &asked.id {
        None => NOBODY.to_owned(),
        Some(id) => BASE64URL_NOPAD.encode(id.to_json().to_string().as_bytes()),
    };
    let unique = HEXLOWER.encode(&random.bytes::<8>());
    let question = format!("{unique}.{id}.{}", asked.member);
    let mark = BASE64URL_NOPAD.encode(&vault.mark(PURPOSE, &marked(session, &question)));
    format!("{QUESTION}{mark}.{question}")
}

/// Who asked this session under an id; `None` when nobody did, or nobody waits elsewhere.
pub(super) fn asked_under(id: &str, session: &Digest, vault: &Vault) -> Option<Asked> {
    let (mark, question) = id.strip_prefix(QUESTION)?.split_once('.')?;
    let mark = BASE64URL_NOPAD.decode(mark.as_bytes()).ok()?;
    if !vault.has_marked(PURPOSE, &marked(session, question), &mark) {
        return None;
    }
    let mut parts = question.splitn(3, '.');
    let (_, id, member) = (parts.next()?, parts.next()?, parts.next()?);
    if id == NOBODY {
        return None;
    }
    let id = serde_json::from_slice(&BASE64URL_NOPAD.decode(id.as_bytes()).ok()?).ok()?;
    Some(Asked { member: member.into(), id: Some(Id::from_json(id)?) })
}

fn marked(session: &Digest, question: &str) -> Vec<u8> {
    [&session.0[..], question.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(value: Value) -> Members {
        value.as_object().cloned().unwrap()
    }

    fn log(level: &str) -> Notification {
        Notification { method: "notifications/message".to_owned(), params: members(json!({ "level": level })) }
    }

    #[test]
    fn log_messages_are_for_those_who_want_them() {
        assert!(!hears(Era::Modern, None, &log("emergency")), "modern clients ask");
        assert!(hears(Era::Legacy, None, &log("debug")));
        for era in [Era::Modern, Era::Legacy] {
            assert!(hears(era, Some("warning"), &log("error")) && hears(era, Some("warning"), &log("warning")));
            assert!(!hears(era, Some("warning"), &log("notice")));
            assert!(hears(era, Some("warning"), &log("unheard-of")), "what nobody can rank passes");
        }
        let progress = Notification { method: "notifications/progress".to_owned(), params: Members::new() };
        assert!(hears(Era::Modern, None, &progress));
    }

    #[test]
    fn nobody_is_asked_what_they_did_not_say_they_can_answer() {
        let nothing = members(json!({}));
        for (capabilities, method, params, may) in [
            (json!({}), "roots/list", json!({}), false),
            (json!({ "roots": {} }), "roots/list", json!({}), true),
            (json!({ "roots": true }), "roots/list", json!({}), false),
            (json!({ "sampling": {} }), "sampling/createMessage", json!({}), true),
            (json!({ "sampling": {} }), "sampling/createMessage", json!({ "tools": [] }), false),
            (json!({ "sampling": { "tools": {} } }), "sampling/createMessage", json!({ "tools": [] }), true),
            (json!({ "elicitation": {} }), "elicitation/create", json!({ "mode": "form" }), true),
            (json!({ "elicitation": {} }), "elicitation/create", json!({ "mode": "url" }), false),
            (json!({ "elicitation": { "url": {} } }), "elicitation/create", json!({ "mode": "url" }), true),
            (json!({ "sampling": {} }), "elicitation/create", json!({}), false),
        ] {
            let asked = may_be_asked(&members(capabilities.clone()), method, &members(params.clone()));
            assert_eq!(asked.is_ok(), may, "{capabilities} {method} {params}");
        }
        let refused = may_be_asked(&nothing, "sampling/createMessage", &nothing).unwrap_err();
        assert_eq!(refused.code, RpcError::MISSING_CLIENT_CAPABILITY);
        assert_eq!(refused.data, Some(json!({ "requiredCapabilities": { "sampling": {} } })));
        assert_eq!(may_be_asked(&nothing, "tools/call", &nothing).unwrap_err().code, RpcError::METHOD_NOT_FOUND);
    }

    #[test]
    fn an_id_says_who_asked_and_whom() {
        let random = Random::default();
        let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
        let (session, other) = (Digest::of("session"), Digest::of("other"));
        let id_of = |asked: &Asked| question_id(asked, &session, (&vault, &random));
        for (member, id) in [("atlassian", Id::from(7)), ("", Id::Text("a.b/c é".to_owned())), ("time-work", 0.into())]
        {
            let asked = Asked { member: member.into(), id: Some(id) };
            let id = id_of(&asked);
            assert_eq!(asked_under(&id, &other, &vault), None, "another session was not asked");
            assert_eq!(asked_under(&format!("{id}x"), &session, &vault), None);
            assert_eq!(asked_under(&id, &session, &vault), Some(asked));
        }
        let ours = Asked { member: "x".into(), id: None };
        assert_eq!(asked_under(&id_of(&ours), &session, &vault), None, "nobody waits elsewhere");
        assert_ne!(id_of(&ours), id_of(&ours));
        for garbage in ["", "7", "q.", "q.a.b", "q.a.!.x", "q..Nw.x", "Q.a.Nw.x"] {
            assert_eq!(asked_under(garbage, &session, &vault), None, "{garbage}");
        }
    }
}
