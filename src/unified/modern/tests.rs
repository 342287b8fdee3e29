//! Requests that are answered with questions, and come back.

use super::state;
use super::waiting::Waiting;
use super::work::{Origin, Step, Work};
use crate::clock::Clock;
use crate::ids::{Random, UserId};
use crate::mcp::era::Era;
use crate::mcp::rpc::{Id, Members, Notification, Request, RpcError};
use crate::unified::door::{Guest, Introduction};
use crate::unified::{Asked, Back, Caller};
use crate::vault::Vault;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::oneshot;

fn members(value: Value) -> Members {
    value.as_object().cloned().unwrap()
}

fn caller(user: u8, client: &str) -> Caller {
    Guest::somebody(UserId([user; 16]), client, "").introduced(Introduction {
        era: Era::Modern,
        version: "2026-07-28".to_owned(),
        info: json!({}),
        capabilities: members(json!({ "elicitation": {}, "roots": {} })),
        log_level: None,
        session: format!("modern-{client}").into(),
        headers: http::HeaderMap::new(),
    })
}

fn request(params: Value) -> Request {
    Request { id: Id::from(1), method: "tools/call".to_owned(), params: members(params) }
}

fn origin(caller: &Caller, request: &Request) -> Origin {
    Origin { caller: caller.clone(), method: request.method.clone(), params: state::digest(request) }
}

fn waiting() -> (Waiting, Clock) {
    let (random, clock) = (Random::default(), Clock::standing());
    let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
    (Waiting::new(vault, clock.clone(), random), clock)
}

/// Asks for roots, as the upstream of this name.
async fn ask(back: &Back, member: &str) -> Result<Value, RpcError> {
    let asked = Asked { member: member.into(), id: Some(Id::from(7)) };
    back.ask(asked, "roots/list".to_owned(), Members::new()).await
}

/// Work that asks once.
fn asking(caller: &Caller, request: &Request) -> Work {
    Work::of(origin(caller, request), |back| async move { ask(&back, "notes").await })
}

async fn asks(work: &mut Work) {
    assert!(matches!(work.step().await, Step::Questions));
}

async fn outcome(work: &mut Work) -> Result<Value, RpcError> {
    match work.step().await {
        Step::Done(outcome) => outcome,
        _ => panic!("there was no result"),
    }
}

/// The request as it comes back.
fn again(request: &Request, result: &Value, responses: Value) -> Request {
    let mut again = Request { id: Id::from(2), ..request.clone() };
    again.params.insert("requestState".to_owned(), result["requestState"].clone());
    again.params.insert("inputResponses".to_owned(), responses);
    again
}

#[tokio::test]
async fn a_question_suspends_the_work_and_its_answer_goes_on_with_it() {
    let (waiting, _) = waiting();
    let (caller, request) = (caller(1, "claude"), request(json!({ "name": "a" })));
    let mut work = asking(&caller, &request);
    asks(&mut work).await;
    let result = waiting.park(work).ok().unwrap();
    assert_eq!(result["resultType"], "input_required");
    assert_eq!(result["inputRequests"], json!({ "notes-1": { "method": "roots/list", "params": {} } }));
    let back = again(&request, &result, json!({ "notes-1": { "roots": [] }, "unasked": 1 }));
    let mut work = waiting.resume(&caller, &back).await.unwrap().unwrap();
    assert_eq!(outcome(&mut work).await.unwrap(), json!({ "roots": [] }));
    let error = waiting.resume(&caller, &back).await.err().unwrap();
    assert_eq!(error.code, RpcError::INVALID_PARAMS, "a state is worth something once");
}

#[tokio::test]
async fn what_is_not_answered_is_asked_again() {
    let (waiting, _) = waiting();
    let (caller, request) = (caller(1, "claude"), request(json!({ "name": "a" })));
    let mut work = Work::of(origin(&caller, &request), |back| async move {
        let (first, second) = tokio::join!(ask(&back, "a"), ask(&back, "b"));
        Ok(json!([first?, second?]))
    });
    asks(&mut work).await;
    let result = waiting.park(work).ok().unwrap();
    assert_eq!(result["inputRequests"].as_object().unwrap().len(), 2, "both at once: {result}");
    let back = again(&request, &result, json!({ "a-1": 1 }));
    let mut work = waiting.resume(&caller, &back).await.unwrap().unwrap();
    asks(&mut work).await;
    let result = waiting.park(work).ok().unwrap();
    assert_eq!(result["inputRequests"].as_object().unwrap().keys().collect::<Vec<_>>(), ["b-2"]);
    let mut work = waiting.resume(&caller, &again(&request, &result, json!({ "b-2": 2 }))).await.unwrap().unwrap();
    assert_eq!(outcome(&mut work).await.unwrap(), json!([1, 2]));
}

#[tokio::test]
async fn a_state_is_worth_nothing_to_anybody_else_nor_with_anything_else() {
    let (waiting, clock) = waiting();
    let (caller_of_it, request_of_it) = (caller(1, "claude"), request(json!({ "name": "a", "arguments": { "x": 1 } })));
    let mut work = asking(&caller_of_it, &request_of_it);
    asks(&mut work).await;
    let result = waiting.park(work).ok().unwrap();
    let good = again(&request_of_it, &result, json!({ "notes-1": {} }));
    let with = |name: &str, value: Value| {
        let mut other = good.clone();
        other.params.insert(name.to_owned(), value);
        other
    };
    let state = result["requestState"].as_str().unwrap();
    let mut tampered = state.as_bytes().to_vec();
    let middle = tampered.len() / 2;
    tampered[middle] = if tampered[middle] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    let prompt = Request { method: "prompts/get".to_owned(), ..good.clone() };
    for (who, what) in [
        (caller(2, "claude"), good.clone()),
        (caller(1, "cursor"), good.clone()),
        (caller_of_it.clone(), with("name", json!("b"))),
        (caller_of_it.clone(), with("arguments", json!({ "x": 2 }))),
        (caller_of_it.clone(), with("requestState", json!(tampered))),
        (caller_of_it.clone(), with("requestState", json!(state[..state.len() - 4]))),
        (caller_of_it.clone(), with("requestState", json!("portcullis-1."))),
        (caller_of_it.clone(), with("inputResponses", json!([]))),
        (caller_of_it.clone(), prompt),
    ] {
        let error = waiting.resume(&who, &what).await.err().unwrap();
        assert_eq!(error.code, RpcError::INVALID_PARAMS, "{what:?}");
    }
    let theirs = waiting.resume(&caller_of_it, &with("requestState", json!("an upstream's own"))).await.unwrap();
    assert!(theirs.is_none(), "what is not ours is the upstream's");
    clock.advance(Duration::from_secs(601));
    assert!(waiting.resume(&caller_of_it, &good).await.is_err(), "it has expired");
}

#[tokio::test]
async fn only_so_much_of_one_person_waits() {
    let (waiting, _) = waiting();
    let (alice, bob, request) = (caller(1, "claude"), caller(2, "claude"), request(json!({ "name": "a" })));
    let mut results = Vec::new();
    for _ in 0..16 {
        let mut work = asking(&alice, &request);
        asks(&mut work).await;
        results.push(waiting.park(work).ok().unwrap());
    }
    let mut work = asking(&alice, &request);
    asks(&mut work).await;
    let mut refused = waiting.park(work).err().unwrap();
    assert!(outcome(&mut refused).await.is_err(), "whoever asked is told");
    let mut work = asking(&bob, &request);
    asks(&mut work).await;
    assert!(waiting.park(work).is_ok());
    let first = again(&request, &results[0], json!({}));
    drop(waiting.resume(&alice, &first).await.unwrap().unwrap());
    let mut work = asking(&alice, &request);
    asks(&mut work).await;
    assert!(waiting.park(work).is_ok(), "there is room again");
}

#[tokio::test]
async fn suspended_work_ends_with_its_grant() {
    let (waiting, _) = waiting();
    let (caller, request) = (caller(1, "claude"), request(json!({ "name": "a" })));
    let (running, ended) = oneshot::channel::<()>();
    let mut work = Work::of(origin(&caller, &request), |back| async move {
        let _running = running;
        ask(&back, "notes").await
    });
    asks(&mut work).await;
    let result = waiting.park(work).ok().unwrap();
    caller.life.finish();
    assert!(ended.await.is_err());
    assert!(waiting.resume(&caller, &again(&request, &result, json!({}))).await.is_err());
}

#[tokio::test]
async fn dropping_work_cancels_it_and_suspended_work_goes_on() {
    let (waiting, _) = waiting();
    let (caller, request) = (caller(1, "claude"), request(json!({ "name": "a" })));
    let (running, ended) = oneshot::channel::<()>();
    let work = Work::of(origin(&caller, &request), |back| async move {
        let _running = running;
        ask(&back, "notes").await
    });
    drop(work);
    assert!(ended.await.is_err());

    // More than may wait for a client that reads.
    let (done, finished) = oneshot::channel();
    let mut work = Work::of(origin(&caller, &request), |back| async move {
        let answer = ask(&back, "notes");
        let talk = async {
            for _ in 0..100 {
                back.notify(Notification { method: "notifications/progress".to_owned(), params: Members::new() }).await;
            }
            done.send(()).unwrap();
        };
        tokio::join!(answer, talk).0
    });
    loop {
        if let Step::Questions = work.step().await {
            break;
        }
    }
    let result = waiting.park(work).ok().unwrap();
    finished.await.unwrap();
    let mut work = waiting.resume(&caller, &again(&request, &result, json!({ "notes-1": 1 }))).await.unwrap().unwrap();
    assert_eq!(outcome(&mut work).await.unwrap(), 1);
}

#[tokio::test]
async fn a_client_is_not_asked_what_it_cannot_answer_nor_where_it_cannot_be_asked() {
    let caller = caller(1, "claude");
    let call = request(json!({ "name": "a" }));
    let sampling = |back: Back| async move {
        let asked = Asked { member: "a".into(), id: None };
        back.ask(asked, "sampling/createMessage".to_owned(), Members::new()).await
    };
    let refused = outcome(&mut Work::of(origin(&caller, &call), sampling)).await.unwrap_err();
    assert_eq!(refused.code, RpcError::MISSING_CLIENT_CAPABILITY);
    let list = Request { method: "tools/list".to_owned(), ..call };
    let refused = outcome(&mut asking(&caller, &list)).await.unwrap_err();
    assert_eq!(refused.code, RpcError::INVALID_REQUEST);
}

#[tokio::test]
async fn notifications_come_before_what_follows_them() {
    let (caller, call) = (caller(1, "claude"), request(json!({ "name": "a" })));
    let mut work = Work::of(origin(&caller, &call), |back| async move {
        for method in ["notifications/progress", "notifications/message", "notifications/x"] {
            back.notify(Notification { method: method.to_owned(), params: Members::new() }).await;
        }
        Ok(json!(1))
    });
    let mut heard = Vec::new();
    loop {
        match work.step().await {
            Step::Notification(said) => heard.push(said.method),
            Step::Done(outcome) => break assert_eq!(outcome.unwrap(), 1),
            Step::Questions => panic!("nobody asked"),
        }
    }
    assert_eq!(heard, ["notifications/progress", "notifications/x"], "log messages were not asked for");
}
