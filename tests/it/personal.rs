//! Servers that know people by a key of their own, which people give the gateway by hand: on the way of a client, on the
//! dashboard, by command line and API. And what people choose to see at `/mcp`.

use crate::client::{Client, alice, mcp_url, send};
use crate::gateway::{Gateway, PASSWORD, USER, upstream};
use crate::logs;
use crate::raw::{Caller, SOON, get, status};
use crate::upstreams::anywhere;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use portcullis::cli::{self, Process};
use portcullis::config::{PersonalHeader, UpstreamAuth};
use portcullis::devkit::browser::{Arrived, Browser, Credentials, Page};
use portcullis::devkit::mcp::{McpServer, Protection};
use portcullis::ids::Random;
use portcullis::secret::Secret;
use portcullis::store::Role;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// The key that the server knows.
const KEY: &str = "sk-canary-of-the-right-key";
/// One that it does not know.
const WRONG: &str = "sk-canary-of-the-wrong-key";

struct World {
    server: McpServer,
    gateway: Gateway,
}

impl World {
    async fn new() -> Self {
        let (name, value) = (HeaderName::from_static("x-api-key"), HeaderValue::from_static(KEY));
        let protection = Protection::Header(name.clone(), value);
        let server = McpServer::start(anywhere(), Random::default(), protection).await.unwrap();
        let authority = server.address().to_string();
        let gateway = Gateway::with(move |config| {
            let header = PersonalHeader { name: name.clone(), prefix: String::new() };
            config.upstream.push(upstream(&authority, UpstreamAuth::Personal(header)));
        })
        .await;
        Self { server, gateway }
    }

    fn authority(&self) -> String {
        self.server.address().to_string()
    }

    async fn client(&self) -> Client {
        Client::ready(&mcp_url(&self.gateway, &self.authority())).await
    }

    fn keys_that_arrived(&self) -> Vec<String> {
        self.server.control.recorder().values("x-api-key")
    }

    async fn signed_in(&self, who: &str) -> Browser {
        let browser = Browser::new().unwrap();
        let login = page(browser.open(&format!("{}/login", self.gateway.root()), "").await);
        let who = Credentials { user: who.to_owned(), password: PASSWORD.to_owned() };
        page(browser.fill_login(&login, &who, "").await);
        browser
    }

    /// What a command does that runs beside the gateway and reads the same configuration.
    async fn command(&self, arguments: &[&str], mut stdin: &[u8]) -> (i32, String) {
        let file = self.gateway.directory().join("portcullis.toml");
        let text = format!(
            "[[upstream]]\ndomain = \"{}\"\nauth = \"header\"\nheader = \"X-Api-Key\"\npersonal = true\nallow_private = true\n",
            self.authority()
        );
        std::fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        let arguments = ["portcullis", "-c", &file].iter().chain(arguments).map(Into::into).collect();
        let state = self.gateway.directory().display().to_string();
        let environment = BTreeMap::from([("XDG_STATE_HOME".to_owned(), state)]);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let process = Process { arguments, environment, stdin: &mut stdin, stdout: &mut stdout, stderr: &mut stderr };
        let status = cli::run(process).await;
        let told = [stdout, stderr].concat();
        (status.into(), String::from_utf8(told).unwrap())
    }
}

fn page(arrived: Result<Arrived, String>) -> Page {
    match arrived.unwrap() {
        Arrived::Page(page) => page,
        Arrived::Stopped(url) => panic!("a page was expected, not {url}"),
    }
}

/// Enters a key into the page that asks for one.
async fn enter(browser: &Browser, page: &Page, key: &str, stop: &str) -> Arrived {
    assert!(page.url.path() == "/upstreams/credentials", "{}: {}", page.url, page.text());
    let form = page.form_with("value.x-api-key").expect("a field for the key");
    browser.submit(page, &form, &[("value.x-api-key", key), ("decision", "approve")], stop).await.unwrap()
}

/// From the beginning of an authorization to the page that asks for the key.
async fn until_the_key(client: &Client) -> Page {
    let mut shown = page(client.browser.open(&client.authorization_url(&[]), &client.redirect_uri).await);
    for _ in 0..3 {
        if shown.form_with("value.x-api-key").is_some() {
            return shown;
        }
        shown = match shown.form_with("password") {
            Some(_) => page(client.browser.fill_login(&shown, &alice(), &client.redirect_uri).await),
            None => page(client.browser.approve(&shown, &client.redirect_uri).await),
        };
    }
    panic!("nobody asks for a key: {}", shown.text());
}

/// The code in the address that a client is sent back to.
async fn token(client: &Client, arrived: Arrived) -> String {
    let Arrived::Stopped(url) = arrived else { panic!("the client has to get its answer") };
    let code = url.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
    client.exchange(&code).await.access
}

#[tokio::test]
async fn a_client_s_person_enters_a_key_and_another_one_where_it_is_wrong() {
    let world = World::new().await;
    let client = world.client().await;
    let shown = until_the_key(&client).await;
    assert!(shown.text().contains(&world.authority()), "{}", shown.text());
    let empty =
        client.browser.submit(&shown, &shown.form_with("decision").unwrap(), &[("decision", "approve")], "").await;
    assert_eq!(page(empty).status, StatusCode::BAD_REQUEST);
    let bad = page(Ok(enter(&client.browser, &shown, "caf\u{e9}-canary", &client.redirect_uri).await));
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert!(!bad.body.contains("canary"), "what was entered is not shown");

    let arrived = enter(&client.browser, &bad, WRONG, &client.redirect_uri).await;
    let access = token(&client, arrived).await;
    let (refused, body) = client.call(&access, "whoami").await;
    assert_eq!(refused, StatusCode::UNAUTHORIZED, "{body}");
    assert_eq!(world.keys_that_arrived(), [WRONG], "it is asked once, and not again with what it does not take");

    // The client's way from our challenge leads to the page again.
    let shown = until_the_key(&client).await;
    let arrived = enter(&client.browser, &shown, KEY, &client.redirect_uri).await;
    let access = token(&client, arrived).await;
    world.server.control.recorder().clear();
    let (called, body) = client.call(&access, "whoami").await;
    assert_eq!(called, StatusCode::OK, "{body}");
    assert!(body.contains("key holder"), "{body}");
    // Neither our token nor a key of the client's own making arrives there.
    let fields = [("authorization", format!("Bearer {access}")), ("x-api-key", "another".to_owned())];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    send(&client.browser, Method::POST, &client.url, &fields, Some("{}".to_owned())).await;
    assert!(world.keys_that_arrived().iter().all(|key| key == KEY), "{:?}", world.keys_that_arrived());
    assert!(world.server.control.recorder().bearers().is_empty());

    world.gateway.app().audit.flush().await;
    let log = world.gateway.app().store.audit_page(Default::default(), None, 100).await.unwrap();
    let set = log.iter().filter(|one| one.event.action == "credential.set" && one.event.actor == USER).count();
    assert_eq!(set, 2);
    let told = format!("{log:?}{body}{}", shown.body);
    for canary in [KEY, WRONG] {
        assert!(!logs::contain(canary) && !told.contains(canary), "{canary} was told");
        for (path, bytes) in world.gateway.kept() {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{} holds {canary} in clear", path.display());
        }
    }
}

#[tokio::test]
async fn whoever_gives_no_key_sends_the_client_back() {
    let world = World::new().await;
    let client = world.client().await;
    let shown = until_the_key(&client).await;
    let Arrived::Stopped(url) = client.browser.deny(&shown, &client.redirect_uri).await.unwrap() else { panic!() };
    assert!(url.query_pairs().any(|(name, value)| name == "error" && value == "access_denied"), "{url}");
    assert!(world.keys_that_arrived().is_empty());
}

#[tokio::test]
async fn a_key_is_changed_and_removed_and_what_is_open_ends() {
    let world = World::new().await;
    let (authority, host) = (world.authority(), world.gateway.host_of(&world.authority()));
    let set = ["upstream", "credential", "set", &authority, "--user", USER];
    assert_eq!(world.command(&set, b"\n").await.0, 1, "no value");
    let (done, told) = world.command(&set, format!("{KEY}\n").as_bytes()).await;
    assert_eq!((done, told.contains(KEY)), (0, false), "{told}");
    let (_, listed) = world.command(&["--json", "upstream", "credential", "list", &authority], b"").await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[0]["user"], &listed[0]["names"]), (&json!(USER), &json!("x-api-key")));
    let store = &world.gateway.app().store;
    let connection = store.connections().await.unwrap()[0].id;

    let (access, _) = world.gateway.token_for(&authority).await;
    let open = async || {
        let mut events = Caller::connect(world.gateway.port()).await;
        events.send(get(&host, &access, "/sse")).await;
        assert_eq!(status(&events.until("\r\n\r\n").await), 200);
        events.until("event: endpoint").await;
        events
    };
    let mut first = open().await;
    assert_eq!(world.command(&set, KEY.as_bytes()).await.0, 0, "a new one in its place");
    let began = Instant::now();
    first.until("0\r\n\r\n").await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(store.connection_by_id(connection).await.unwrap().is_none());

    let mut second = open().await;
    let remove = ["upstream", "credential", "remove", &authority, "--user", USER];
    assert_eq!(world.command(&remove, b"").await.0, 0);
    let began = Instant::now();
    second.until("0\r\n\r\n").await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let (refused, told) = world.command(&remove, b"").await;
    assert_eq!(refused, 1, "{told}");
    let mut third = Caller::connect(world.gateway.port()).await;
    third.send(get(&host, &access, "/sse")).await;
    assert_eq!(third.status().await, 401);
}

#[tokio::test]
async fn the_dashboard_leads_to_the_key_and_says_what_appears_at_mcp() {
    let world = World::new().await;
    let (root, authority) = (world.gateway.root(), world.authority());
    let browser = world.signed_in(USER).await;
    let account = page(browser.open(&format!("{root}/account"), "").await);
    assert!(account.body.contains(&format!("<code>{root}/mcp</code>")), "the address to copy");
    assert!(account.body.contains("Needs a value from you"));
    let shown = page(browser.open(&format!("{root}/oauth/start?server={authority}"), "").await);
    let home = page(Ok(enter(&browser, &shown, KEY, "").await));
    assert!(home.url.path() == "/connections" && home.body.contains("Connected") && home.body.contains("x-api-key"));
    // To change it, one need not enter anything.
    let again = format!("{root}/oauth/start?server={authority}&renew=true");
    let shown = page(browser.open(&again, "").await);
    assert!(!shown.body.contains(KEY) && shown.body.contains("Unchanged"));
    assert_eq!(page(browser.approve(&shown, "").await).url.path(), "/connections");
    let alice = world.gateway.app().store.user_by_name(USER).await.unwrap().unwrap().id;
    let kept = world.gateway.app().store.connections_of(alice).await.unwrap();
    assert_eq!(kept.len(), 1);

    let hidden = async || world.gateway.app().store.hidden_members(alice).await.unwrap();
    let account = page(browser.open(&format!("{root}/account"), "").await);
    assert!(account.body.contains("Connected") && !account.body.contains(KEY));
    let form = account.forms().into_iter().find(|form| form.action == "/account/members").unwrap();
    let mut nothing = form.clone();
    nothing.fields.retain(|field| field.name != "shown");
    let account = page(browser.submit(&account, &nothing, &[], "").await);
    assert_eq!(hidden().await.len(), 1);
    assert_eq!(hidden().await[0].authority, authority);
    page(browser.submit(&account, &form, &[], "").await);
    assert!(hidden().await.is_empty());
}

#[tokio::test]
async fn administrators_give_keys_and_select_for_others_by_the_api() {
    let world = World::new().await;
    let app = world.gateway.app();
    let bob = app.identity.create("bob", &Secret::new(PASSWORD.to_owned()), Role::Member).await.unwrap().id.to_string();
    let (_, created) = world.command(&["--json", "apikey", "create", "ci", "--scope", "admin"], b"").await;
    let created: Value = serde_json::from_str(&created).unwrap();
    let authorization = format!("Bearer {}", created["key"].as_str().unwrap());
    let (root, browser) = (world.gateway.root(), Browser::new().unwrap());
    let ask = async |method: Method, path: &str, body: Option<Value>| {
        let fields = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let body = body.map(|body| body.to_string());
        send(&browser, method, &format!("{root}/api/v1{path}"), &fields, body).await
    };
    let keys = format!("/upstreams/{}/credentials/{bob}", world.authority());
    let values = |name: &str| Some(json!({ "values": { name: KEY } }));
    assert_eq!(ask(Method::PUT, &keys, values("x-api-key")).await.status, StatusCode::NO_CONTENT);
    let listed = ask(Method::GET, &format!("/connections?user_id={bob}"), None).await;
    let items: Value = serde_json::from_str(&listed.body).unwrap();
    assert_eq!(items["items"][0]["personal"], json!(["x-api-key"]), "{}", listed.body);
    for (body, expected) in [
        (values("x-other"), 422),
        (Some(json!({ "values": {} })), 422),
        (Some(json!({ "values": KEY })), 422),
        (Some(json!({ "values": { "x-api-key": format!("{KEY}\n{KEY}") } })), 422),
        (Some(json!({ "values": { "x-api-key": "k".repeat(9_000) } })), 422),
        (Some(json!({ "values": { "x-api-key": KEY }, "account": "A b" })), 422),
    ] {
        let refused = ask(Method::PUT, &keys, body).await;
        assert_eq!(refused.status.as_u16(), expected, "{}", refused.body);
        assert!(!refused.body.contains(KEY), "{}", refused.body);
    }
    assert_eq!(ask(Method::PUT, "/upstreams/10.0.0.1/credentials/x", values("x-api-key")).await.status, 404);

    let (hidden, one) =
        (format!("/users/{bob}/hidden-members"), format!("/users/{bob}/hidden-members/{}", world.authority()));
    assert_eq!(ask(Method::PUT, &format!("{one}?account=work"), None).await.status, StatusCode::NO_CONTENT);
    let listed: Value = serde_json::from_str(&ask(Method::GET, &hidden, None).await.body).unwrap();
    assert_eq!(listed["items"], json!([{ "domain": world.authority(), "account": "work" }]));
    assert_eq!(ask(Method::DELETE, &format!("{one}?account=work"), None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(Method::PUT, &format!("{one}?account=A-B"), None).await.status.as_u16(), 422);

    assert_eq!(ask(Method::DELETE, &format!("{keys}?name=X-API-Key"), None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(Method::DELETE, &keys, None).await.status, StatusCode::NOT_FOUND);
    app.audit.flush().await;
    let log = app.store.audit_page(Default::default(), None, 100).await.unwrap();
    for action in ["credential.set", "credential.removed", "member.hidden", "member.shown"] {
        assert!(log.iter().any(|one| one.event.action == action && one.event.actor == "apikey:ci"), "{action}");
    }
    assert!(!format!("{log:?}").contains(KEY) && !logs::contain(KEY));
}

#[tokio::test]
async fn a_foreign_page_gives_nothing() {
    let world = World::new().await;
    let (root, browser) = (world.gateway.root(), world.signed_in(USER).await);
    let address = format!("{root}/upstreams/credentials?server={}", world.authority());
    let shown = page(browser.open(&address, "").await);
    let token = shown.form_with("csrf_token").unwrap();
    let token = token.fields.iter().find(|field| field.name == "csrf_token").unwrap().value.clone();
    let body = |token: &str| format!("csrf_token={token}&decision=approve&value.x-api-key=theirs");
    let mcp = world.gateway.url_of(&world.authority());
    for (origin, site, token) in [
        ("https://evil.example", "cross-site", token.as_str()),
        (mcp.as_str(), "same-site", token.as_str()),
        (root.as_str(), "same-origin", "wrong"),
    ] {
        let fields = [
            (header::ORIGIN.as_str(), origin),
            ("sec-fetch-site", site),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let refused = send(&browser, Method::POST, &address, &fields, Some(body(token))).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{origin}");
    }
    let alice = world.gateway.app().store.user_by_name(USER).await.unwrap().unwrap().id;
    assert!(world.gateway.app().store.connections_of(alice).await.unwrap().is_empty());
}
