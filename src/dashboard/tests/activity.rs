//! What people see of what happened, how they follow it, and what they take along.

use super::*;
use crate::activity::{EndedRequest, Party};
use crate::clock::Timestamp;
use crate::store::AuditEvent;
use crate::telemetry::Fate;
use crate::tokens::{AccessToken, Terms};
use http_body_util::BodyExt;

/// An administrator and two members.
async fn house() -> House {
    let house = House::ruled(SecondFactor::Optional, 1000).await;
    for (name, role) in [("root", Role::Administrator), ("alice", Role::Member), ("bob", Role::Member)] {
        house.dashboard.identity.create(name, &Secret::new(PASSWORD.to_owned()), role).await.unwrap();
    }
    house
}

/// A browser with a page that is still coming.
struct Coming {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
    read: String,
}

impl House {
    async fn browser_of(&self, name: &str) -> Browser<'_> {
        let mut browser = self.browser();
        browser.sign_in(name, PASSWORD, "/").await.location();
        self.dashboard.audit.flush().await;
        browser
    }

    fn call(&self, actor: &str, tool: &str) -> AuditEvent {
        AuditEvent {
            upstream: Some("mcp.example".to_owned()),
            client: Some(format!("client-of-{actor}")),
            status: Some(200),
            duration_ms: Some(1500),
            ..AuditEvent::new(self.dashboard.clock.now(), actor, "tool.called", tool, Some("192.0.2.7".to_owned()))
        }
    }

    /// As another node writes: into the table, and nowhere else.
    async fn write(&self, events: &[AuditEvent]) -> i64 {
        self.dashboard.store.append_audit(events).await.unwrap().last().unwrap().0
    }
}

impl Browser<'_> {
    async fn open(&mut self, path: &str, fields: &[(&'static str, &str)]) -> Coming {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = Request::get(path).header(header::COOKIE, cookies.join("; "));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        let client = std::net::Ipv4Addr::LOCALHOST.into();
        request.extensions_mut().insert(Arrival { realm: Realm::Root, client });
        let (parts, body) = self.house.router.clone().oneshot(request).await.unwrap().into_parts();
        Coming { status: parts.status, headers: parts.headers, body, read: String::new() }
    }

    async fn follow(&mut self, path: &str) -> Coming {
        let mut coming = self.open(path, &[("accept", "text/event-stream"), ("sec-fetch-site", "same-origin")]).await;
        assert_eq!(coming.status, StatusCode::OK);
        coming.until("retry: ").await;
        coming
    }
}

impl Coming {
    /// Reads on until `text` has come.
    async fn until(&mut self, text: &str) -> &str {
        while !self.read.contains(text) {
            assert!(self.more().await, "it ended without {text:?}: {}", self.read);
        }
        &self.read
    }

    /// Reads to the end.
    async fn whole(mut self) -> String {
        while self.more().await {}
        self.read
    }

    async fn more(&mut self) -> bool {
        let Some(frame) = self.body.frame().await else { return false };
        self.read.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        true
    }
}

const STREAM: &str = "/activity/stream";

#[tokio::test]
async fn members_see_what_is_their_own_whatever_they_ask_for() {
    let house = house().await;
    let before = AuditEvent { at: Timestamp(1000), ..house.call("alice", "of-a-namesake") };
    house.write(&[before, house.call("alice", "search"), house.call("bob", "transfer")]).await;
    let mut alice = house.browser_of("alice").await;
    for path in ["/activity/log", "/activity/log?person=bob", "/activity/log?person=", "/activity/log?tool="] {
        let page = alice.get(path).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.body.contains("search") && !page.body.contains("transfer"), "{path}: {}", page.body);
        assert!(!page.body.contains("of-a-namesake") && !page.body.contains("name=\"person\""), "{path}");
    }
    assert!(alice.get("/activity/log?tool=transfer&person=bob").await.body.contains("Nothing fits."));
    let taken = alice.get("/activity/export?format=jsonl&person=bob").await.body;
    assert!(taken.contains("\"search\"") && !taken.contains("transfer") && !taken.contains("of-a-namesake"), "{taken}");
    let page = house.browser_of("root").await.get("/activity/log").await;
    assert!(page.body.contains("search") && page.body.contains("transfer") && page.body.contains("name=\"person\""));
    let told = "/login?return_to=%2Factivity%2Flog%3Ftool%3Dsearch";
    assert_eq!(house.browser().get("/activity/log?tool=search").await.location(), told);
}

#[tokio::test]
async fn nobody_is_called_like_the_gateway_itself() {
    let house = house().await;
    for name in ["system", "System"] {
        let created = house.dashboard.identity.create(name, &Secret::new(PASSWORD.to_owned()), Role::Member).await;
        assert!(created.unwrap_err().public.contains("choose another user name"));
    }
}

#[tokio::test]
async fn figures_are_of_whoever_looks_and_of_what_was_chosen() {
    let house = house().await;
    let random = Random::default();
    for (person, tool) in [("alice", "search"), ("alice", "search"), ("bob", "transfer")] {
        let terms = Terms { client_id: format!("client-of-{person}").into(), ..Terms::default() };
        let user = crate::ids::UserId::random(&random);
        let token = AccessToken::new((user, person), terms, Default::default(), Timestamp(0));
        let party = Party { token: Arc::new(token), upstream: None, tool: Some(tool.into()) };
        let at = house.dashboard.clock.now();
        let took = Some(Duration::from_millis(40));
        let request = EndedRequest { at, party, fate: Fate::Answered, status: Some(200), took };
        house.dashboard.activity.recorder().ended(request);
    }
    house.dashboard.activity.flush().await;
    let mut root = house.browser_of("root").await;
    let page = root.get("/activity?range=hour").await.body;
    assert!(page.contains("3 requests: 3 answered, 0 refused, 0 failed."), "{page}");
    assert!(page.contains("/activity?range=hour&#38;person=bob") && page.contains("client-of-bob"));
    let page = root.get("/activity?person=bob&range=nonsense").await.body;
    assert!(page.contains("1 request: 1 answered") && page.contains("Person <bdi>bob</bdi>"), "{page}");
    let page = house.browser_of("alice").await.get("/activity?person=bob").await.body;
    assert!(page.contains("2 requests: 2 answered") && !page.contains("bob"), "{page}");
    assert!(root.get("/activity?client=x&upstream=y").await.body.contains("There are no figures for this"));
    assert!(house.browser_of("bob").await.get("/activity?tool=t&upstream=u").await.body.contains("Nothing yet"));
}

#[tokio::test]
async fn administrators_look_for_lines_by_all_that_is_known_of_them() {
    let house = house().await;
    let calls: Vec<_> =
        (0..120).map(|number| house.call("alice", if number == 7 { "rare" } else { "often" })).collect();
    house.write(&calls).await;
    house.write(&[house.call("bob", "often")]).await;
    let mut root = house.browser_of("root").await;
    let lines = |page: &Answer| page.body.matches("<li data-number=").count() - 1;
    for (query, expected) in [
        ("tool=rare", 1),
        ("tool=rare&person=bob", 0),
        ("person=bob", 1),
        ("client=client-of-bob", 1),
        ("upstream=MCP.example&person=bob", 1),
        ("action=tool.called", 20),
        ("action=login.succeeded", 1),
        ("since=2000-01-01&until=2000-01-02T12:00", 0),
        ("since=2000-01-01T00:00&tool=rare", 1),
        ("until=2100-01-01T00:00&tool=rare", 1),
    ] {
        let page = root.get(&format!("/activity/log?{query}")).await;
        assert_eq!(lines(&page), expected, "{query}: {}", page.body);
        assert_eq!(page.body.contains("data-stream="), !query.contains("until"), "{query}");
    }
    let page = root.get("/activity/log?tool=rare").await.body;
    for part in ["200, 1.5 s", "from <bdi data-part=\"from\">192.0.2.7", "/activity/log?person=alice&#38;tool=rare"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let mut page = root.get("/activity/log?tool=often").await;
    let mut seen = lines(&page);
    while let Some(more) = page.body.split("href=\"").find(|link| link.contains("before=")) {
        let more = more.split('"').next().unwrap().replace("&#38;", "&");
        page = root.get(&more).await;
        seen += lines(&page);
        assert!(!page.body.contains("data-stream="), "the past does not grow");
    }
    assert_eq!(seen, 120);
    for bad in
        ["since=yesterday", "until=x", "since=2026-02-01&until=2026-01-01", &format!("tool={}", "x".repeat(2000))]
    {
        let page = root.get(&format!("/activity/log?{bad}")).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{bad}");
        assert!(page.body.contains("role=\"alert\""), "{bad}");
        let refused = root.get(&format!("/activity/export?format=csv&{bad}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(root.get("/activity/log?before=x").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_page_and_its_stream_leave_nothing_out_between_them() {
    let house = house().await;
    house.write(&[house.call("alice", "first")]).await;
    let mut root = house.browser_of("root").await;
    let page = root.get("/activity/log?person=alice").await.body;
    let address = page.split("data-stream=\"").nth(1).unwrap().split('"').next().unwrap().replace("&#38;", "&");
    house.write(&[house.call("alice", "in-between"), house.call("bob", "of-somebody-else")]).await;
    let mut stream = root.follow(&address).await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    stream.until("in-between").await;
    let last = house.write(&[house.call("alice", "<script>"), house.call("bob", "more")]).await;
    stream.until(&format!("id: {}\n", last - 1)).await;
    let told = stream.until("script").await;
    assert!(!told.contains("first") && !told.contains("of-somebody-else"), "{told}");
    let data = told.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    let line: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(line["parts"]["subject"]["text"], "<script>");
    assert_eq!(line["parts"]["subject"]["address"], "/activity/log?person=alice&tool=%3Cscript%3E");
    assert_eq!((&line["number"], &line["parts"]["outcome"]["text"]), (&(last - 1).into(), &"200, 1.5 s".into()));

    // Another node, which knows only what the browser says.
    let fields = [("accept", "text/event-stream"), ("last-event-id", &*(last - 2).to_string())];
    let mut again = root.open("/activity/stream?person=alice&after=1", &fields).await;
    let told = again.until("script").await;
    assert!(!told.contains("in-between"), "{told}");
}

#[tokio::test]
async fn whoever_was_away_for_too_long_is_told_so() {
    let house = house().await;
    let mut root = house.browser_of("root").await;
    let calls: Vec<_> = (0..1500).map(|number| house.call("alice", &format!("tool-{number}-"))).collect();
    house.write(&calls).await;
    let mut stream = root.follow("/activity/stream?after=1").await;
    let told = stream.until("tool-1499-").await;
    assert!(told.contains("event: skipped") && told.contains("tool-500-") && !told.contains("tool-499-"));
    assert_eq!(told.matches("event: skipped").count(), 1);
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_tells_nothing_after() {
    let house = house().await;
    for end in ["sign-out", "disabled", "role", "idle"] {
        let mut alice = house.browser_of("alice").await;
        let stream = alice.follow(STREAM).await;
        let user = house.user("alice").await;
        let store = &house.dashboard.store;
        match end {
            "sign-out" => {
                let page = alice.get("/activity").await;
                alice.submit(&page, "/logout", &[]).await.location();
            }
            "disabled" => store.set_user_disabled(user.id, true).await.unwrap(),
            "role" => assert!(store.set_role(user.id, Role::Administrator).await.unwrap()),
            _ => house.dashboard.clock.advance(Duration::from_secs(90 * 86_400)),
        }
        house.write(&[house.call("alice", "afterwards")]).await;
        let told = stream.whole().await;
        assert!(!told.contains("afterwards"), "{end}: {told}");
        if end == "disabled" {
            store.set_user_disabled(user.id, false).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_open_stream_is_no_use_of_its_session() {
    let house = house().await;
    let mut alice = house.browser_of("alice").await;
    let seen = |house: &House| {
        let (dashboard, name) = (house.dashboard.clone(), "alice");
        async move {
            let user = dashboard.store.user_by_name(name).await.unwrap().unwrap();
            dashboard.sessions.of(&user).await.unwrap()[0].last_seen_at
        }
    };
    let mut stream = alice.follow(STREAM).await;
    let before = seen(&house).await;
    house.dashboard.clock.advance(Duration::from_secs(600));
    house.write(&[house.call("alice", "later")]).await;
    stream.until("later").await;
    assert_eq!(seen(&house).await, before);
}

#[tokio::test]
async fn streams_are_few_ours_alone_and_end_with_the_gateway() {
    let house = house().await;
    let mut alice = house.browser_of("alice").await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(alice.follow(STREAM).await);
    }
    let accept = ("accept", "text/event-stream");
    let refused = alice.open(STREAM, &[accept]).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(alice.get("/activity/export?format=csv").await.status, StatusCode::TOO_MANY_REQUESTS);
    open.pop();
    open.push(alice.follow(STREAM).await);
    let mut bob = house.browser_of("bob").await;
    for relation in ["same-site", "cross-site"] {
        assert_eq!(bob.open(STREAM, &[accept, ("sec-fetch-site", relation)]).await.status, StatusCode::FORBIDDEN);
        let taken = bob.open("/activity/export?format=csv", &[("sec-fetch-site", relation)]).await;
        assert_eq!(taken.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(bob.get(STREAM).await.status, StatusCode::NOT_ACCEPTABLE);

    let life = Arc::new(crate::life::Life::default());
    let cookies: Vec<String> = bob.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = Request::get(STREAM).header(accept.0, accept.1).header(header::COOKIE, cookies.join("; "));
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(crate::request::Stay(life.clone()));
    let response = house.router.clone().oneshot(request).await.unwrap();
    life.finish();
    let told = response.into_body().collect().await.unwrap().to_bytes();
    assert!(told.len() < 100, "{told:?}");
}

#[tokio::test]
async fn all_of_the_log_is_taken_along_in_order_and_no_name_is_a_formula() {
    let house = house().await;
    let calls: Vec<_> = (0..2500).map(|number| house.call("alice", &format!("tool-{number}"))).collect();
    house.write(&calls).await;
    house.write(&[house.call("bob", "=1+1,\"\n")]).await;
    let mut root = house.browser_of("root").await;
    let lines = root.get("/activity/export?format=jsonl&person=alice").await;
    let told: Vec<serde_json::Value> = lines.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), 2500);
    assert!(told.iter().enumerate().all(|(number, line)| line["subject"] == format!("tool-{number}")));
    assert!(told[0]["hash"].is_string() && told[0]["position"].is_number());
    let table = root.get("/activity/export?format=csv&person=bob").await;
    assert!(table.headers["content-disposition"].to_str().unwrap().starts_with("attachment; filename=\"audit-20"));
    assert_eq!(table.headers["content-type"], "text/csv; charset=utf-8");
    let mut rows = table.body.splitn(2, "\r\n");
    assert_eq!(rows.next().unwrap(), "number,at,actor,action,subject,upstream,client,status,duration_ms,address");
    let row = rows.next().unwrap();
    assert!(
        row.contains(",bob,tool.called,\"'=1+1,\"\"\n\",mcp.example,client-of-bob,200,1500,192.0.2.7\r\n"),
        "{row}"
    );
    house.dashboard.audit.flush().await;
    let page = root.get("/activity/log?action=audit.exported").await.body;
    assert_eq!(page.matches("<li data-number=").count() - 1, 2, "who took it along is in it");
    assert_eq!(root.get("/activity/export?format=xml").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(root.get("/activity/export").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_somebody_takes_along_breaks_off_with_the_session() {
    let house = house().await;
    let calls: Vec<_> = (0..1500).map(|_| house.call("alice", "search")).collect();
    house.write(&calls).await;
    let mut alice = house.browser_of("alice").await;
    let mut coming = alice.open("/activity/export?format=csv", &[]).await;
    coming.until("search").await;
    house.dashboard.store.set_user_disabled(house.user("alice").await.id, true).await.unwrap();
    let broken = coming.body.collect().await;
    assert!(broken.is_err(), "a part must not look like the whole");
}
