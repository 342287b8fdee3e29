//! Whatever is taken back ends what is open with it, and nothing else: grants, clients, connections, people, upstreams; on
//! the dashboard, by protocol, and on the command line, which writes into the database beside the running gateway.

use crate::client::{Client, Tokens, mcp_url, send};
use crate::gateway::{Gateway, PASSWORD, USER, upstream};
use crate::raw::{Caller, PATIENCE, RawUpstream, SOON, field, get, post, status};
use crate::upstreams::Notes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, StatusCode};
use portcullis::cli::{self, Process};
use portcullis::config::UpstreamAuth;
use portcullis::devkit::authorization_server::Misbehaviour as AuthorizationMisbehaviour;
use portcullis::devkit::browser::{Arrived, Browser, Credentials, Form};
use portcullis::devkit::mcp::Misbehaviour;
use portcullis::secret::Secret;
use portcullis::store::Role;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

pub const BOB: &str = "bob";

/// A gateway that knows no upstream yet, and two people.
async fn setup() -> (Notes, Gateway) {
    let (notes, gateway) = (Notes::start().await, Gateway::start().await);
    let password = Secret::new(PASSWORD.to_owned());
    gateway.app().identity.create(BOB, &password, Role::Member).await.unwrap();
    (notes, gateway)
}

/// A client that a person has let in, with everything open that can be open.
pub struct Session {
    pub client: Client,
    pub tokens: Tokens,
    host: String,
    events: Caller,
    socket: WebSocketStream<TcpStream>,
}

impl Session {
    pub async fn open(gateway: &Gateway, notes: &Notes, person: &str) -> Self {
        let (authority, host) = (notes.authority(), gateway.host_of(&notes.authority()));
        let client = Client::ready(&mcp_url(gateway, &authority)).await;
        let who = Credentials { user: person.to_owned(), password: PASSWORD.to_owned() };
        let start = client.authorization_url(&[]);
        let callback = client.browser.authorize(&start, &who, &client.redirect_uri).await.unwrap();
        let tokens = client.exchange(&callback.code.unwrap()).await;

        let mut events = Caller::connect(gateway.port()).await;
        events.send(get(&host, &tokens.access, "/sse")).await;
        assert_eq!(status(&events.until("\r\n\r\n").await), 200);
        events.until("event: endpoint").await;

        let mut request = format!("ws://{host}/echo").into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", tokens.access).parse().unwrap());
        let stream = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
        let (socket, _) = client_async(request, stream).await.unwrap();
        let mut session = Self { client, tokens, host, events, socket };
        session.goes_on(notes).await;
        session
    }

    pub async fn goes_on(&mut self, notes: &Notes) {
        self.socket.send(Message::text("still here")).await.unwrap();
        assert_eq!(self.frame().await, Message::text("still here"));
        notes.mcp.control.push(&json!({"jsonrpc": "2.0", "method": "notifications/still_here"}));
        self.events.until("notifications/still_here").await;
        assert_eq!(self.request().await.0, 200);
    }

    /// Both streams have ended in their own ways, and the client is sent through the flow again.
    pub async fn has_ended(&mut self, since: Instant, why: &str) {
        self.streams_end(since).await;
        let (status, challenge) = self.request().await;
        assert_eq!(status, 401);
        assert!(challenge.contains("/.well-known/oauth-protected-resource/mcp\""), "{challenge}");
        assert!(challenge.contains(why), "{challenge}");
    }

    /// Both streams have ended in their own ways.
    pub async fn streams_end(&mut self, since: Instant) {
        self.events.until("\r\n0\r\n\r\n").await;
        match self.frame().await {
            Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Policy),
            other => panic!("{other:?}"),
        }
        assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    }

    async fn frame(&mut self) -> Message {
        tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("nothing came").expect("closed").unwrap()
    }

    /// The status of a new request, and the challenge if it has one.
    async fn request(&self) -> (u16, String) {
        let port = self.host.rsplit(':').next().unwrap().parse().unwrap();
        let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",
            "capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
        let mut caller = Caller::connect(port).await;
        let (head, _) = caller.send(post(&self.host, &self.tokens.access, initialize)).await.response().await;
        (status(&head), field(&head, "www-authenticate").unwrap_or_default())
    }

    /// Presses the button of a form on the dashboard that has this field.
    async fn press(&self, gateway: &Gateway, action: &str, name: &str, value: &str) {
        let browser = &self.client.browser;
        let place = match action {
            "/grants/revoke" => "/account".to_owned(),
            "/connections/disconnect" => "/connections".to_owned(),
            _ => format!("/servers/{value}"),
        };
        let address = format!("{}{place}", gateway.root());
        let Arrived::Page(page) = browser.open(&address, "").await.unwrap() else { panic!() };
        let fits = |form: &Form| {
            form.action == action && form.fields.iter().any(|field| field.name == name && field.value == value)
        };
        let form = page.forms().into_iter().find(fits).unwrap_or_else(|| panic!("no {action} for {value}"));
        let Arrived::Page(page) = browser.submit(&page, &form, &[], "").await.unwrap() else { panic!() };
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        if action == "/connections/disconnect" {
            assert!(page.text().contains("open here"), "the streams that ended are told: {}", page.text());
        }
    }
}

/// What a command prints that runs beside the gateway, on the same database.
pub async fn command(gateway: &Gateway, arguments: &[&str]) -> String {
    let arguments = ["portcullis"].iter().chain(arguments).map(Into::into).collect();
    let state = gateway.directory().display().to_string();
    let environment = BTreeMap::from([("XDG_STATE_HOME".to_owned(), state)]);
    let (mut stdin, mut stdout, mut stderr) = (&[][..], Vec::new(), Vec::new());
    let process = Process { arguments, environment, stdin: &mut stdin, stdout: &mut stdout, stderr: &mut stderr };
    let status = cli::run(process).await;
    assert_eq!(status, 0, "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

async fn listing(gateway: &Gateway, noun: &str) -> Vec<serde_json::Value> {
    serde_json::from_str(&command(gateway, &["--json", noun, "list"]).await).unwrap()
}

#[tokio::test]
async fn what_people_take_back_on_the_dashboard_ends_and_nothing_else() {
    let (notes, gateway) = setup().await;
    let mut first = Session::open(&gateway, &notes, USER).await;
    let mut second = Session::open(&gateway, &notes, USER).await;
    let mut bobs = Session::open(&gateway, &notes, BOB).await;
    let store = &gateway.app().store;
    let alice = store.user_by_name(USER).await.unwrap().unwrap().id;

    let granted = store.grants_of(alice).await.unwrap();
    let grant = granted.iter().find(|grant| grant.client_id == first.client.client_id).unwrap().id.to_string();
    let began = Instant::now();
    first.press(&gateway, "/grants/revoke", "id", &grant).await;
    first.has_ended(began, "invalid_token").await;

    let connection = store.connections_of(alice).await.unwrap()[0].id.to_string();
    let began = Instant::now();
    second.press(&gateway, "/connections/disconnect", "id", &connection).await;
    second.has_ended(began, "The connection to the upstream has ended").await;
    bobs.goes_on(&notes).await;

    let began = Instant::now();
    second.press(&gateway, "/upstreams/remove", "authority", &notes.authority()).await;
    bobs.has_ended(began, "invalid_token").await;
}

#[tokio::test]
async fn what_is_taken_back_on_the_command_line_ends_and_nothing_else() {
    let (notes, gateway) = setup().await;
    let other = Notes::start().await;
    let mut first = Session::open(&gateway, &notes, USER).await;
    let mut second = Session::open(&gateway, &notes, USER).await;
    let mut bobs = Session::open(&gateway, &notes, BOB).await;
    let mut elsewhere = Session::open(&gateway, &other, USER).await;

    let clients = listing(&gateway, "client").await;
    let listed = clients.iter().find(|client| client["id"] == first.client.client_id).unwrap();
    assert_eq!(listed["grants"], 1);
    let began = Instant::now();
    let said = command(&gateway, &["client", "revoke", &first.client.client_id]).await;
    assert!(said.ends_with(": 1 grant ended\n"), "{said}");
    first.has_ended(began, "invalid_token").await;

    let connections = listing(&gateway, "connection").await;
    let hers = |row: &&serde_json::Value| row["user"] == USER && row["domain"] == notes.authority();
    let id = connections.iter().find(hers).unwrap()["id"].as_str().unwrap();
    let began = Instant::now();
    command(&gateway, &["connection", "revoke", id]).await;
    second.has_ended(began, "The connection to the upstream has ended").await;

    let began = Instant::now();
    let said = command(&gateway, &["user", "remove", BOB]).await;
    assert_eq!(said, "removed bob: 1 grant and 1 connection ended\n");
    bobs.has_ended(began, "invalid_token").await;

    elsewhere.goes_on(&other).await;
    let began = Instant::now();
    command(&gateway, &["upstream", "remove", &other.authority()]).await;
    elsewhere.has_ended(began, "invalid_token").await;
}

#[tokio::test]
async fn a_client_that_deletes_its_registration_ends_what_it_was_granted() {
    let (notes, gateway) = setup().await;
    let mut other = Session::open(&gateway, &notes, USER).await;
    let browser = Browser::new().unwrap();
    let register = format!("{}/register", gateway.url_of(&notes.authority()));
    let redirect_uri = "http://127.0.0.1:33333/callback";
    let metadata = json!({"redirect_uris": [redirect_uri], "token_endpoint_auth_method": "none"}).to_string();
    let page = send(&browser, Method::POST, &register, &[], Some(metadata)).await;
    let registered: serde_json::Value = serde_json::from_str(&page.body).unwrap();
    let mut client = Client::discover(&mcp_url(&gateway, &notes.authority()), redirect_uri).await;
    client.client_id = registered["client_id"].as_str().unwrap().to_owned();
    let tokens = client.connect().await;
    let mut events = Caller::connect(gateway.port()).await;
    events.send(get(&other.host, &tokens.access, "/sse")).await;
    events.until("event: endpoint").await;

    let began = Instant::now();
    let authorization = format!("Bearer {}", registered["registration_access_token"].as_str().unwrap());
    let address = registered["registration_client_uri"].as_str().unwrap();
    let page = send(&browser, Method::DELETE, address, &[("authorization", &authorization)], None).await;
    assert_eq!(page.status, StatusCode::NO_CONTENT);
    events.until("\r\n0\r\n\r\n").await;
    assert!(began.elapsed() < SOON);
    assert_eq!(client.call(&tokens.access, "whoami").await.0, StatusCode::UNAUTHORIZED);
    other.goes_on(&notes).await;
}

#[tokio::test]
async fn new_tokens_end_no_stream_and_the_upstream_s_no_ends_all_of_the_connection() {
    let (notes, gateway) = setup().await;
    let mut alices = Session::open(&gateway, &notes, USER).await;
    let mut bobs = Session::open(&gateway, &notes, BOB).await;
    notes.mcp.control.misbehave(Misbehaviour::Unauthorized);
    assert_eq!(alices.request().await.0, 200, "refreshed and repeated");
    assert_eq!(notes.authorization.counters().refreshes, 1);
    // The journal tells this gateway of its own doing too; this comes after it.
    let (_, grant) = gateway.token_for(&notes.authority()).await;
    let life = gateway.app().lives.of(grant);
    gateway.app().store.revoke_grant(grant, gateway.clock.now()).await.unwrap();
    life.ended().await;
    alices.goes_on(&notes).await;

    notes.authorization.misbehave(AuthorizationMisbehaviour::RefreshRefused);
    notes.mcp.control.misbehave(Misbehaviour::Unauthorized);
    let began = Instant::now();
    assert_eq!(alices.request().await.0, 401);
    alices.has_ended(began, "The connection to the upstream has ended").await;
    bobs.goes_on(&notes).await;
}

#[tokio::test]
async fn whoever_waits_for_an_answer_gets_none_after_the_end() {
    let release = Arc::new(Semaphore::new(0));
    let gate = release.clone();
    let mut silent = RawUpstream::start(move |_, mut connection| {
        let gate = gate.clone();
        async move {
            connection.request().await;
            let _ = gate.acquire().await;
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret").await;
        }
    })
    .await;
    let authority = silent.authority.clone();
    let gateway = Gateway::with(move |config| config.upstream.push(upstream(&authority, UpstreamAuth::None))).await;
    let host = gateway.host_of(&silent.authority);
    for streams in [true, false] {
        let (token, grant) = gateway.token_for(&silent.authority).await;
        let request = if streams { get(&host, &token, "/mcp") } else { post(&host, &token, "{}") };
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(request).await;
        silent.received().await;
        assert!(gateway.app().revocations.grant(grant).await.unwrap());
        if !streams {
            release.add_permits(1);
        }
        let (head, body) = caller.response().await;
        assert_eq!(status(&head), 401);
        assert!(field(&head, "www-authenticate").unwrap().contains("invalid_token"));
        assert!(!body.contains("secret"));
    }
}

#[tokio::test]
async fn a_caller_that_does_not_read_holds_nothing_open() {
    let left = Arc::new(Semaphore::new(0));
    let told = left.clone();
    let flood = RawUpstream::start(move |_, mut connection| {
        let told = told.clone();
        async move {
            connection.request().await;
            connection
                .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            let event = format!("ea66\r\ndata: {}\n\n\r\n", "x".repeat(60_000 - 2));
            while tokio::io::AsyncWriteExt::write_all(&mut connection.stream, event.as_bytes()).await.is_ok() {}
            told.add_permits(1);
        }
    })
    .await;
    let authority = flood.authority.clone();
    let gateway = Gateway::with(move |config| {
        config.streams.write_timeout = Duration::from_secs(600);
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    })
    .await;
    let (token, grant) = gateway.token_for(&flood.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(get(&gateway.host_of(&flood.authority), &token, "/mcp")).await;
    caller.until("data: x").await;
    gateway.app().revocations.grant(grant).await.unwrap();
    let gone = tokio::time::timeout(PATIENCE, left.acquire()).await;
    gone.expect("the upstream was kept open").unwrap().forget();
}
