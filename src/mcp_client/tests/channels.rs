//! Several people on one channel.

use super::*;
use crate::ids::UserId;
use crate::life::Life;
use crate::mcp::rpc::{Id, Response, Rpc};
use crate::mcp_client::channel::{First, Out};
use crate::mcp_client::line::Line;
use bytes::Bytes;

/// The far end of a channel.
struct Program {
    from_us: mpsc::Receiver<Bytes>,
    to_us: mpsc::Sender<Bytes>,
    channel: Arc<Multiplexer>,
}

impl Program {
    fn new() -> Self {
        let (outgoing, from_us) = mpsc::channel(4096);
        let (to_us, incoming) = mpsc::channel(4096);
        let ended = async { Fault::upstream("the program ended", "exit status 1").into() };
        let channel = Arc::new(Multiplexer::over(Out::Queue(outgoing), incoming, ended, Vec::new()));
        Self { from_us, to_us, channel }
    }

    /// One that has been begun in that era.
    async fn begun(era: Era) -> (Self, Arc<Server>) {
        let mut program = Self::new();
        let (channel, someone) = (program.channel.clone(), someone());
        let beginning = tokio::spawn(async move { channel.begin(&someone, First::Discover).await });
        let discover = program.request("server/discover").await;
        match era {
            Era::Modern => {
                let result = json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} });
                program.answer(&discover, Ok(result)).await;
            }
            Era::Legacy => {
                program.answer(&discover, Err(RpcError::new(RpcError::METHOD_NOT_FOUND, "what?"))).await;
                let initialize = program.request("initialize").await;
                let capabilities = json!({ "tools": { "listChanged": true }, "resources": { "subscribe": true } });
                let result = json!({ "protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": {} });
                program.answer(&initialize, Ok(result)).await;
                assert!(
                    matches!(program.next().await, Rpc::Notification(told) if told.method == "notifications/initialized")
                );
            }
        }
        (program, beginning.await.unwrap().unwrap())
    }

    async fn next(&mut self) -> Rpc {
        let bytes = tokio::time::timeout(Duration::from_secs(10), self.from_us.recv()).await.unwrap().unwrap();
        Rpc::parse(&bytes).unwrap()
    }

    async fn request(&mut self, method: &str) -> Request {
        match self.next().await {
            Rpc::Request(request) if request.method == method => request,
            other => panic!("instead of {method}: {other:?}"),
        }
    }

    async fn response(&mut self) -> Response {
        match self.next().await {
            Rpc::Response(response) => response,
            other => panic!("instead of a response: {other:?}"),
        }
    }

    async fn answer(&self, request: &Request, outcome: Result<Value, RpcError>) {
        self.say(Rpc::Response(Response { id: Some(request.id.clone()), outcome }).to_json()).await;
    }

    async fn say(&self, message: Value) {
        self.to_us.send(message.to_string().into()).await.unwrap();
    }

    fn line(&self, server: &Arc<Server>) -> Arc<Line> {
        Line::new((self.channel.clone(), server.clone()), someone(), Arc::default())
    }
}

fn someone() -> Principal {
    let user = UserId::random(&Random::default());
    principal(ConnectionKey::upstream(user, Authority::parse("127.0.0.1:1").unwrap(), None), "a")
}

/// A call of somebody's under way: its events, and its outcome.
type Calling = (mpsc::Receiver<Event>, tokio::task::JoinHandle<Result<Value, CallError>>);

fn calling(line: &Arc<Line>, call: Call) -> Calling {
    let (to, from) = events();
    let line = line.clone();
    (from, tokio::spawn(async move { line.request(call, &to).await }))
}

#[tokio::test]
async fn a35_a_thousand_identical_calls_of_many_get_their_own_answers() {
    let (mut program, server) = Program::begun(Era::Legacy).await;
    let lines: Vec<_> = (0..10).map(|_| program.line(&server)).collect();
    let with_token = || {
        let mut call = tool("x", json!({}));
        call.params.insert("_meta".to_owned(), json!({ "progressToken": 1 }));
        call
    };
    let mut callings: Vec<Calling> = (0..1000).map(|n| calling(&lines[n % 10], with_token())).collect();
    let mut requests = Vec::new();
    for _ in 0..1000 {
        requests.push(program.request("tools/call").await);
    }
    let (ids, tokens): (Vec<_>, Vec<_>) =
        requests.iter().map(|r| (r.id.to_json().to_string(), r.params["_meta"]["progressToken"].to_string())).unzip();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 1000);
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 1000);
    // Backwards, each with a progress of its own first.
    for request in requests.iter().rev() {
        let token = request.params["_meta"]["progressToken"].clone();
        let progress = json!({ "progressToken": token, "progress": request.id.to_json() });
        program.say(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": progress })).await;
        program.answer(request, Ok(request.id.to_json())).await;
    }
    let mut answers = BTreeSet::new();
    for (from, outcome) in &mut callings {
        let answer = outcome.await.unwrap().unwrap();
        let progress = next_notification(from).await;
        assert_eq!((&progress.params["progress"], &progress.params["progressToken"]), (&answer, &json!(1)));
        assert!(from.try_recv().is_err(), "nobody else's");
        answers.insert(answer.to_string());
    }
    assert_eq!(answers.len(), 1000);
}

#[tokio::test]
async fn questions_go_to_the_one_who_calls_and_to_nobody_when_two_do() {
    let (mut program, server) = Program::begun(Era::Legacy).await;
    let (ann, ben) = (program.line(&server), program.line(&server));
    let question = |id: &str| json!({ "jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": {} });
    let log = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "data": "secret" } });

    program.say(question("q0")).await;
    assert!(program.response().await.outcome.is_err(), "nobody calls");

    let (mut anns, _first) = calling(&ann, tool("x", json!({})));
    let request = program.request("tools/call").await;
    program.say(question("q1")).await;
    program.say(log.clone()).await;
    let Some(Event::Request(asked)) = anns.recv().await else { panic!("a question") };
    assert_eq!(next_notification(&mut anns).await.method, "notifications/message");
    assert!(ben.respond(asked.id.clone(), Ok(json!({}))).await.is_err(), "it is not for ben");
    ann.respond(asked.id.clone(), Ok(json!({ "action": "accept" }))).await.unwrap();
    assert_eq!(program.response().await.id, Some(Id::Text("q1".to_owned())));
    assert!(ann.respond(asked.id, Ok(json!({}))).await.is_err(), "answered already");

    let (mut bens, _second) = calling(&ben, tool("x", json!({})));
    program.request("tools/call").await;
    program.say(question("q2")).await;
    program.say(log).await;
    assert!(program.response().await.outcome.is_err(), "it may be for either");
    assert!(anns.try_recv().is_err() && bens.try_recv().is_err());

    program.answer(&request, Ok(json!({}))).await;
    program.say(json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" })).await;
    assert_eq!(program.response().await.outcome, Ok(json!({})));
    program.say(question("q3")).await;
    assert!(matches!(bens.recv().await, Some(Event::Request(_))));
}

#[tokio::test]
async fn whoever_leaves_cancels_and_late_answers_are_for_nobody() {
    let (mut program, server) = Program::begun(Era::Legacy).await;
    let line = program.line(&server);
    let (_from, outcome) = calling(&line, tool("x", json!({})));
    let request = program.request("tools/call").await;
    outcome.abort();
    let Rpc::Notification(told) = program.next().await else { panic!("a cancellation") };
    assert_eq!((told.method.as_str(), &told.params["requestId"]), ("notifications/cancelled", &request.id.to_json()));
    program.answer(&request, Ok(json!({}))).await;
    program.say(json!({ "jsonrpc": "2.0", "id": 99_999, "result": {} })).await;
    program.to_us.send(Bytes::from_static(b"not JSON")).await.unwrap();
    let (_from, outcome) = calling(&line, tool("y", json!({})));
    let request = program.request("tools/call").await;
    program.answer(&request, Ok(json!(7))).await;
    program.answer(&request, Ok(json!(8))).await;
    assert_eq!(outcome.await.unwrap().unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_asked_whether_it_is_there_and_let_go() {
    let (mut program, server) = Program::begun(Era::Legacy).await;
    let line = program.line(&server);
    let (_from, outcome) = calling(&line, tool("x", json!({})));
    program.request("tools/call").await;
    outcome.abort();
    program.next().await;
    program.request("ping").await;
    let (_from, outcome) = calling(&line, tool("y", json!({})));
    program.request("tools/call").await;
    let Err(CallError::Unavailable { fault, .. }) = outcome.await.unwrap() else { panic!("it hangs") };
    assert!(fault.public.contains("20 seconds"), "{}", fault.public);
    assert!(program.to_us.is_closed(), "the process is let go");
}

#[tokio::test]
async fn the_end_of_a_channel_is_told_to_all_with_its_reason() {
    let (mut program, server) = Program::begun(Era::Legacy).await;
    let line = program.line(&server);
    let (to, mut from) = events();
    let _listening = line.listen(Filter { tools: true, ..Filter::default() }, to).await.unwrap();
    let (_from, outcome) = calling(&line, tool("x", json!({})));
    program.request("tools/call").await;
    drop(program);
    assert_eq!(unavailable(outcome.await.unwrap()).0.public, "the program ended");
    assert_eq!(from.recv().await, None);
    assert_eq!(unavailable(line.request(tool("x", json!({})), &events().0).await).0.public, "the program ended");
}

#[tokio::test]
async fn the_end_of_an_authorization_ends_what_runs_on_it() {
    let (mut program, server) = Program::begun(Era::Legacy).await;
    let life = Arc::new(Life::default());
    let line = Line::new((program.channel.clone(), server), someone(), life.clone());
    let (_from, outcome) = calling(&line, tool("x", json!({})));
    program.request("tools/call").await;
    life.finish();
    assert!(matches!(outcome.await.unwrap(), Err(CallError::NeedsConsent)));
}

#[tokio::test]
async fn changes_are_for_those_who_listen() {
    let (mut program, server) = Program::begun(Era::Legacy).await;
    let (ann, ben) = (program.line(&server), program.line(&server));
    let ((to_ann, mut anns), (to_ben, mut bens)) = (events(), events());
    let about = |uri: &str| Filter { subscribed: BTreeSet::from([uri.to_owned()]), tools: true, ..Filter::default() };
    let listening = tokio::spawn({
        let ann = ann.clone();
        async move { ann.listen(about("a:1"), to_ann).await }
    });
    let subscribe = program.request("resources/subscribe").await;
    program.answer(&subscribe, Ok(json!({}))).await;
    let anns_listening = listening.await.unwrap().unwrap();
    let _bens = ben.listen(Filter { tools: true, ..Filter::default() }, to_ben).await.unwrap();
    let updated = json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": "a:1" } });
    program.say(updated).await;
    program.say(json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" })).await;
    assert_eq!(next_notification(&mut anns).await.method, "notifications/resources/updated");
    assert_eq!(next_notification(&mut anns).await.method, "notifications/tools/list_changed");
    assert_eq!(next_notification(&mut bens).await.method, "notifications/tools/list_changed");
    drop(anns_listening);
    assert_eq!(program.request("resources/unsubscribe").await.params["uri"], "a:1");
}

#[tokio::test]
async fn a_modern_channel_has_one_subscription_for_all() {
    let (mut program, server) = Program::begun(Era::Modern).await;
    let line = program.line(&server);
    let (to, mut from) = events();
    let listening = tokio::spawn({
        let line = line.clone();
        async move { line.listen(Filter { tools: true, prompts: true, ..Filter::default() }, to).await }
    });
    let subscription = program.request("subscriptions/listen").await;
    assert_eq!(subscription.params["notifications"], json!({ "toolsListChanged": true, "promptsListChanged": true }));
    let id = json!({ "io.modelcontextprotocol/subscriptionId": subscription.id.to_json() });
    let method = "notifications/subscriptions/acknowledged";
    let agreed = json!({ "_meta": id, "notifications": { "toolsListChanged": true } });
    program.say(json!({ "jsonrpc": "2.0", "method": method, "params": agreed })).await;
    let listening = listening.await.unwrap().unwrap();
    assert_eq!(listening.acknowledged, Filter { tools: true, ..Filter::default() });
    let changed = json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": { "_meta": id } });
    program.say(changed).await;
    assert!(next_notification(&mut from).await.params.is_empty());
    // A subscription is no call: nobody is asked because of it.
    drop(listening);
    let Rpc::Notification(told) = program.next().await else { panic!("a cancellation") };
    assert_eq!(
        (told.method.as_str(), &told.params["requestId"]),
        ("notifications/cancelled", &subscription.id.to_json())
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_the_probe_is_initialized() {
    let mut program = Program::new();
    let (channel, someone) = (program.channel.clone(), someone());
    let beginning = tokio::spawn(async move { channel.begin(&someone, First::Discover).await });
    program.request("server/discover").await;
    let bytes = program.from_us.recv().await.unwrap();
    let Rpc::Request(initialize) = Rpc::parse(&bytes).unwrap() else { panic!("initialize") };
    assert_eq!(initialize.method, "initialize");
    let result = json!({ "protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": {} });
    program.answer(&initialize, Ok(result)).await;
    assert_eq!(beginning.await.unwrap().unwrap().version, "2024-11-05");
}
