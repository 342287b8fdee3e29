//! Work that waits for its client to come back with answers. It is in the memory of this process only: who comes back elsewhere, or
//! too late, is told to begin again.

use super::state::{self, Name};
use super::work::{Origin, Work};
use crate::clock::Clock;
use crate::ids::{Random, UserId};
use crate::mcp::rpc::{Members, Request, RpcError};
use crate::unified::Caller;
use crate::vault::Vault;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a person may take over an answer.
const PATIENCE: Duration = Duration::from_secs(600);
/// How much work of one person may wait.
const OF_ONE: usize = 16;
/// How much of all people.
const OF_ALL: usize = 1024;

/// All work that waits.
pub(in crate::unified) struct Waiting {
    vault: Vault,
    clock: Clock,
    random: Random,
    parked: Arc<Mutex<HashMap<Name, Parked>>>,
}

/// Some work that waits.
struct Parked {
    user: UserId,
    /// Gives the work back through what is sent.
    wake: oneshot::Sender<oneshot::Sender<Work>>,
}

impl Waiting {
    /// Nothing waits yet.
    pub(in crate::unified) fn new(vault: Vault, clock: Clock, random: Random) -> Self {
        Self { vault, clock, random, parked: Arc::default() }
    }

    /// Suspends work until its client comes back: the `InputRequiredResult` to send. The work comes back, its questions answered
    /// with an error, when too much of it waits.
    pub(super) fn park(&self, mut work: Work) -> Result<Value, Box<Work>> {
        let name: Name = self.random.bytes();
        let user = work.origin.caller.user;
        let (wake, woken) = oneshot::channel();
        {
            let mut parked = self.parked.lock();
            let of_one = parked.values().filter(|parked| parked.user == user).count();
            if of_one >= OF_ONE || parked.len() >= OF_ALL {
                drop(parked);
                let why = "too many requests wait for answers already: answer them first, or let them expire";
                work.refuse(&RpcError::new(RpcError::INTERNAL_ERROR, why));
                return Err(Box::new(work));
            }
            parked.insert(name, Parked { user, wake });
        }
        let expires_at = self.clock.now().after(PATIENCE);
        let result = json!({
            "resultType": "input_required",
            "inputRequests": work.questions(),
            "requestState": state::seal(&self.vault, &name, expires_at, &work.origin),
        });
        tokio::spawn(sit(work, woken, Spot { name, parked: self.parked.clone() }));
        Ok(result)
    }

    /// Goes on with suspended work, if a request comes back with answers to its questions.
    ///
    /// # Errors
    /// `-32602` when the state is not one of this person, client and request, or there is nothing any more that it stands for.
    pub(super) async fn resume(&self, caller: &Caller, request: &Request) -> Result<Option<Work>, RpcError> {
        let Some(presented) = request.params.get("requestState").and_then(Value::as_str) else { return Ok(None) };
        if !state::is_ours(presented) {
            return Ok(None);
        }
        let wrong = |why: &str| RpcError::new(RpcError::INVALID_PARAMS, why);
        let params = state::digest(request);
        let origin = Origin { caller: caller.clone(), method: request.method.clone(), params };
        let name = state::open(&self.vault, presented, self.clock.now(), &origin)
            .ok_or_else(|| wrong("requestState does not belong to this request, or has expired"))?;
        let responses = match request.params.get("inputResponses") {
            None => Members::new(),
            Some(Value::Object(responses)) => responses.clone(),
            Some(_) => return Err(wrong("inputResponses must be an object")),
        };
        let gone = || wrong("the request does not wait for answers any more: send it again without requestState");
        let parked = self.parked.lock().remove(&name).ok_or_else(gone)?;
        let (give, given) = oneshot::channel();
        parked.wake.send(give).map_err(|_| gone())?;
        let mut work = given.await.map_err(|_| gone())?;
        work.origin.caller.log_level.clone_from(&caller.log_level);
        work.answer(responses);
        Ok(Some(work))
    }
}

/// A place among what waits; free again when it is dropped.
struct Spot {
    name: Name,
    parked: Arc<Mutex<HashMap<Name, Parked>>>,
}

impl Drop for Spot {
    fn drop(&mut self) {
        self.parked.lock().remove(&self.name);
    }
}

/// Keeps work going until its client is back, its time is over, or its grant is. Then it is dropped, which cancels it.
async fn sit(mut work: Work, mut woken: oneshot::Receiver<oneshot::Sender<Work>>, spot: Spot) {
    let _spot = spot;
    let life = work.origin.caller.life.clone();
    tokio::select! { biased;
        woken = &mut woken => {
            if let Ok(give) = woken {
                // Whoever asked for it may be gone; the work goes with it.
                drop(give.send(work));
            }
        }
        () = life.ended() => {}
        () = tokio::time::sleep(PATIENCE) => {}
        never = work.wait() => match never {},
    }
}
