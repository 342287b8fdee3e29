//! Every route of both planes, called with a wrong person's credentials and from a foreign page: nothing of anybody else's
//! is shown, changed or ended. The tables are those of `routes`, which fails when a route is in neither.

use crate::client::{Client, mcp_url, send};
use crate::gateway::{Gateway, PASSWORD, USER, upstream};
use crate::raw::{Caller, status};
use crate::routes::{MCP, ROOT};
use crate::upstreams::Notes;
use crate::visitors::{encoded, forge, without_limits};
use http::{HeaderMap, Method, StatusCode, header};
use portcullis::config::{PersonalHeader, UpstreamAuth};
use portcullis::connect::ConnectionKey;
use portcullis::devkit::browser::{Browser, Page};
use portcullis::hostname::{Account, Authority};
use portcullis::secret::Secret;
use portcullis::session::Means;
use portcullis::store::{MemberName, Role};
use portcullis::upstream::Upstream;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const BOB: &str = "bob";
/// The name of an account of Alice's.
const ACCOUNT: &str = "alicesother";

/// Where a member gets something by right: what is the member's own, and what is everybody's.
const OPEN_TO_MEMBERS: &[&str] = &[
    "/",
    "/connections",
    "/activity",
    "/activity/log",
    "/activity/export",
    "/account",
    "/account/totp/begin",
    "/account/totp/remove",
    "/account/recovery-codes",
    "/account/passkeys/challenge",
    "/account/passkeys/after-password",
    "/account/sign-out-everywhere",
    "/account/members",
    "/login/totp",
    "/login",
    "/logout",
    "/verify",
    "/encode",
    "/health",
    "/doctor/stream",
    "/jwks",
    "/revoke",
    "/oauth/start",
    "/oauth/client-metadata.json",
    "/device",
    "/auth/forge",
    "/authorize",
    "/authorize/no-such-alias",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
    "/.well-known/oauth-protected-resource/mcp/sse",
    "/.well-known/oauth-protected-resource/api/v1",
    "/api/v1/openapi.json",
    "/token",
    "/register",
    "/register/x",
];

/// What may be written by anybody, and when something was last seen.
const FREE_TABLES: [&str; 12] = [
    "activity",
    "activity_nodes",
    "activity_streams",
    "audit",
    "audit_bundle_actors",
    "audit_bundles",
    "audit_chain",
    "changes",
    "flows",
    "nodes",
    "sqlite_sequence",
    "_sqlx_migrations",
];
const VOLATILE: [&str; 2] = ["last_seen_at", "last_used_at"];
/// Tables that a member must not even add to.
const CLOSED_TABLES: [&str; 5] = ["users", "upstreams", "api_keys", "signing_keys", "user_groups"];

/// Alice has everything that a person can have, Bob an account.
struct World {
    gateway: Gateway,
    notes: Notes,
    browser: Browser,
}

/// Rows of all tables, as text.
type Snapshot = BTreeMap<String, BTreeSet<String>>;

#[tokio::test]
async fn every_route_with_a_wrong_person_s_credentials() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let ids = world.ids().await;
    let mut wrong = Vec::new();
    for &(method, target, _) in ROOT {
        for id in ids.iter().take(if target == "/logout" { 1 } else { ids.len() }) {
            let root = world.gateway.root();
            let (cookie, csrf_token) = world.session_of(BOB).await;
            let fields = [
                ("cookie", cookie.as_str()),
                ("x-csrf-token", &csrf_token),
                ("origin", &root),
                ("sec-fetch-site", "same-origin"),
            ];
            let page = world.call(method, target, &fields, &csrf_token, id).await;
            let by_right = OPEN_TO_MEMBERS.contains(&target.split('?').next().unwrap());
            if !by_right && (page.status.is_success() || page.status.is_redirection()) {
                wrong.push(format!("{method} {target} (id {id}): {}", page.status));
            }
            assert!(page.status.as_u16() < 500, "{method} {target}: {}", page.status);
            // What everybody may connect is on everybody's account page, which some forms of it show again.
            let shows = !target.starts_with("/account") && page.body.contains(&world.notes.authority());
            assert!(!shows && !page.body.contains(ACCOUNT), "{method} {target} shows what is Alice's");
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    world.is_as_before(&before).await;
}

#[tokio::test]
async fn every_route_from_a_foreign_page() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let ids = world.ids().await;
    let mcp = world.gateway.url_of(&world.notes.authority());
    let mut wrong = Vec::new();
    for &(method, target, nobody) in ROOT {
        for (origin, relation) in [("https://evil.example", "cross-site"), (mcp.as_str(), "same-site")] {
            for id in &ids {
                // Even with the token of Alice's forms, which no foreign page can know.
                let (cookie, csrf_token) = world.session_of(USER).await;
                let fields = [
                    ("cookie", cookie.as_str()),
                    ("x-csrf-token", &csrf_token),
                    ("origin", origin),
                    ("sec-fetch-site", relation),
                ];
                let page = world.call(method, target, &fields, &csrf_token, id).await;
                let is_refused = page.status == StatusCode::FORBIDDEN || page.status.as_u16() == nobody;
                if is_unsafe(method) && !is_refused {
                    wrong.push(format!("{method} {target} from {origin}: {}", page.status));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    world.is_as_before(&before).await;
}

#[tokio::test]
async fn every_mcp_route_with_tokens_of_other_people_and_places() {
    let world = World::new().await;
    let other = Notes::start().await;
    let (elsewhere, _) = world.gateway.token_of(BOB, &other.authority()).await;
    let (cookie, _) = world.session_of(USER).await;
    let calls = world.notes.mcp.control.recorder().requests().len();
    for &(method, target, nobody) in MCP {
        for credential in [
            format!("Authorization: Bearer {elsewhere}"),
            // A browser session is no credential for an upstream, not even Alice's own.
            format!("Cookie: {cookie}"),
            format!("Authorization: Basic {}", data_encoding::BASE64.encode(b"alice:correct horse battery staple")),
        ] {
            let host = world.gateway.host_of(&world.notes.authority());
            let mut caller = Caller::connect(world.gateway.port()).await;
            let head =
                format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{credential}\r\nContent-Length: 0\r\n\r\n");
            caller.send(head).await;
            let answered = status(&caller.until("\r\n\r\n").await);
            let name = credential.split(' ').take(2).collect::<Vec<_>>().join(" ");
            let is_refused = (400..500).contains(&answered);
            assert!(answered == nobody || is_refused, "{method} {target} with {name}: {answered}");
        }
    }
    assert_eq!(world.notes.mcp.control.recorder().requests().len(), calls, "something reached the upstream");
}

impl World {
    async fn new() -> Self {
        let notes = Notes::start().await;
        let authority = notes.authority();
        let gateway = Gateway::with(move |config| {
            without_limits(config);
            config.service = forge();
            config.upstream.push(upstream(&authority, UpstreamAuth::OAuth(Box::default())));
        });
        let gateway = gateway.await;
        let password = Secret::new(PASSWORD.to_owned());
        let (services, alice) = (&gateway.app().services, gateway.app().store.user_by_name(USER).await.unwrap());
        services.put_pat(&services.find("forge").unwrap(), alice.unwrap().id, &a_token()).await.unwrap();
        gateway.app().identity.create(BOB, &password, Role::Member).await.unwrap();
        give(&gateway, &notes.authority()).await;
        let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
        client.connect().await;
        Self { gateway, notes, browser: Browser::new().unwrap() }
    }

    /// The cookie of a new session, and what its forms carry.
    async fn session_of(&self, name: &str) -> (String, String) {
        let app = self.gateway.app();
        let user = app.store.user_by_name(name).await.unwrap().unwrap();
        let set_cookie = app.sessions.begin(&HeaderMap::new(), &user, Means::Passkey, None).await.unwrap();
        let cookie = set_cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        let headers = HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())]);
        let csrf_token = app.sessions.find(&headers).await.unwrap().unwrap().csrf_token;
        (cookie, csrf_token)
    }

    /// One request with everything that forms and paths name, for the row of `id`.
    async fn call(&self, method: &str, target: &str, fields: &[(&str, &str)], csrf_token: &str, id: &str) -> Page {
        let target = match target.strip_suffix("/x") {
            Some(parent) => format!("{parent}/{id}"),
            None => target.replace("/x/", &format!("/{id}/")),
        };
        let form = [
            ("csrf_token", csrf_token),
            ("id", id),
            ("user", USER),
            ("authority", "mcp.example"),
            ("decision", "approve"),
            ("name", "mallory"),
            ("service", "forge"),
            ("role", "administrator"),
            ("token", id),
            ("flow", id),
        ];
        let body = is_unsafe(method).then(|| encoded(&form));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        // Its own would take the place of the given one.
        self.browser.forget_cookies();
        send(&self.browser, method, &format!("{}{target}", self.gateway.root()), fields, body).await
    }

    /// Every identifier in the database that is not Bob's own, as hexadecimal digits, and every client's.
    async fn ids(&self) -> Vec<String> {
        let pool = self.database().await;
        let mut ids = BTreeSet::new();
        for table in tables(&pool).await {
            let columns = columns(&pool, &table).await;
            if !columns.contains("id") {
                continue;
            }
            let select = format!("SELECT CASE typeof(id) WHEN 'blob' THEN lower(hex(id)) ELSE id END FROM {table}");
            let found: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(&pool).await.unwrap_or_default();
            ids.extend(found);
        }
        let bob = self.gateway.app().store.user_by_name(BOB).await.unwrap().unwrap();
        ids.remove(&bob.id.to_string());
        assert!(ids.len() >= 4, "a person, a client, a grant, a connection: {ids:?}");
        ids.into_iter().collect()
    }

    async fn snapshot(&self) -> Snapshot {
        let pool = self.database().await;
        let mut snapshot = Snapshot::new();
        for table in tables(&pool).await {
            let columns = columns(&pool, &table).await;
            let texts = columns.iter().filter(|name| !VOLATILE.contains(&name.as_str()));
            let row = texts.map(|name| format!("quote(\"{name}\")")).collect::<Vec<_>>().join(" || ' ' || ");
            let rows = sqlx::query_scalar(AssertSqlSafe(format!("SELECT {row} FROM \"{table}\"")));
            let rows: Vec<String> = rows.fetch_all(&pool).await.unwrap();
            snapshot.insert(table, rows.into_iter().collect());
        }
        snapshot
    }

    /// What was there is there, unchanged; nothing was added where only administrators add.
    async fn is_as_before(&self, before: &Snapshot) {
        let after = self.snapshot().await;
        for (table, rows) in before.iter().filter(|(table, _)| !FREE_TABLES.contains(&table.as_str())) {
            let gone: Vec<_> = rows.difference(&after[table]).collect();
            assert!(gone.is_empty(), "{table}: changed or gone: {gone:?}");
            let is_closed = CLOSED_TABLES.contains(&table.as_str());
            assert!(!is_closed || after[table].len() == rows.len(), "{table}: something was added");
        }
    }

    async fn database(&self) -> SqlitePool {
        let file = self.gateway.directory().join("portcullis").join("portcullis.db");
        SqlitePool::connect_with(SqliteConnectOptions::new().filename(file).read_only(true)).await.unwrap()
    }
}

async fn tables(pool: &SqlitePool) -> Vec<String> {
    sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'").fetch_all(pool).await.unwrap()
}

async fn columns(pool: &SqlitePool, table: &str) -> BTreeSet<String> {
    let names = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)").bind(table);
    names.fetch_all(pool).await.unwrap().into_iter().collect()
}

/// Alice has given an upstream a key, for another account of hers, and does not want to see it at `/mcp`.
async fn give(gateway: &Gateway, authority: &str) {
    let app = gateway.app();
    let alice = app.store.user_by_name(USER).await.unwrap().unwrap().id;
    let upstream = Upstream {
        auth: Arc::new(UpstreamAuth::Personal(PersonalHeader { name: header::AUTHORIZATION, prefix: String::new() })),
        ..Upstream::clone(&app.registry.by_authority(&Authority::parse(authority).unwrap()).unwrap())
    };
    let account = Some(Account::parse(ACCOUNT).unwrap());
    let key = ConnectionKey::upstream(alice, upstream.authority.clone(), account);
    let given = app.connections.personal_credentials().with(&key, &upstream, &[("", &a_token())]).await.unwrap();
    app.store.replace_connection(&given).await.unwrap();
    let hidden = MemberName { authority: authority.to_owned(), account: ACCOUNT.to_owned() };
    app.store.hide_member(alice, &hidden).await.unwrap();
}

/// A personal access token.
fn a_token() -> Secret {
    Secret::new("canary-of-alice".to_owned())
}

fn is_unsafe(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}
