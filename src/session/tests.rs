use super::*;
use crate::hostname::Scheme;
use crate::ids::UserId;
use crate::store::Role;
use http::{HeaderMap, HeaderValue};

struct World {
    store: Store,
    clock: Clock,
    sessions: Sessions,
    ann: User,
}

async fn world(scheme: Scheme) -> World {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let (clock, random) = (Clock::standing(), Random::default());
    let ann = User {
        id: UserId::random(&random),
        name: "ann".to_owned(),
        password_hash: None,
        email: None,
        role: Role::Member,
        disabled: false,
        created_at: clock.now(),
    };
    store.create_user(&ann).await.unwrap();
    let site = Site::new("gw.example", scheme, 443);
    let sessions = Sessions::new(store.clone(), clock.clone(), random, &site, SessionLives::default());
    World { store, clock, sessions, ann }
}

impl World {
    /// Signs in with a browser that has no cookies yet.
    async fn sign_in(&self) -> HeaderMap {
        browser(&self.sessions.begin(&HeaderMap::new(), &self.ann, Means::Password, None).await.unwrap())
    }

    async fn find(&self, headers: &HeaderMap) -> Option<SignedIn> {
        self.sessions.find(headers).await.unwrap()
    }

    async fn last_seen(&self, headers: &HeaderMap) -> crate::clock::Timestamp {
        let digest = Digest::of(self.sessions.session.read(headers).unwrap());
        self.store.session(&digest, self.clock.now()).await.unwrap().unwrap().last_seen_at
    }
}

/// The headers of a browser that was told to keep a cookie.
fn browser(set_cookie: &HeaderValue) -> HeaderMap {
    let pair = set_cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
    cookies(&[&format!("theme=dark; {pair}; other=1")])
}

fn cookies(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(http::header::COOKIE, line.parse().unwrap());
    }
    headers
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_session_is_found_by_its_cookie_until_it_is_ended() {
    let world = world(Scheme::Https).await;
    let browser = world.sign_in().await;
    let signed_in = world.find(&browser).await.unwrap();
    assert_eq!(signed_in.user.name, "ann");
    assert_eq!(signed_in.csrf_token, world.find(&browser).await.unwrap().csrf_token);
    assert!(!browser["cookie"].to_str().unwrap().contains(&signed_in.csrf_token));

    let gone = world.sessions.end(&browser).await.unwrap();
    assert_eq!(gone, "__Host-portcullis=; Secure; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
    assert!(world.find(&browser).await.is_none());
    world.sessions.end(&HeaderMap::new()).await.unwrap();
}

#[tokio::test]
async fn cookies_are_host_cookies_except_over_plain_http() {
    let https = world(Scheme::Https).await;
    let set = https.sessions.begin(&HeaderMap::new(), &https.ann, Means::Password, None).await.unwrap();
    let (pair, attributes) = set.to_str().unwrap().split_once("; ").unwrap();
    assert!(pair.starts_with("__Host-portcullis=") && pair.len() == "__Host-portcullis=".len() + 43, "{pair}");
    assert_eq!(attributes, "Secure; HttpOnly; SameSite=Lax; Path=/; Max-Age=2592000");

    let http = world(Scheme::Http).await;
    let set = http.sessions.begin(&HeaderMap::new(), &http.ann, Means::Password, None).await.unwrap();
    let (pair, attributes) = set.to_str().unwrap().split_once("; ").unwrap();
    assert!(pair.starts_with("portcullis="), "{pair}");
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/; Max-Age=2592000");
    // A cookie without the prefix, which a sibling host can set, is nothing over https.
    assert!(https.sessions.session.read(&cookies(&[pair])).is_none());
}

#[tokio::test]
async fn cookies_that_are_not_ours_are_nobody() {
    let world = world(Scheme::Http).await;
    let token = Random::default().token();
    for line in ["", "portcullis", "portcullis=", "portcullis=x", "=;;=", &format!("portcullis={}", *token)] {
        assert!(world.find(&cookies(&[line])).await.is_none(), "{line}");
    }
    // One that is malformed does not hide the one that is good, in whatever header it comes.
    let good = world.sign_in().await["cookie"].to_str().unwrap().to_owned();
    assert!(world.find(&cookies(&["portcullis=x; a=b", &good])).await.is_some());
}

#[tokio::test]
async fn a_session_ends_after_a_week_without_use() {
    let world = world(Scheme::Https).await;
    let browser = world.sign_in().await;
    world.clock.advance(DAY * 6);
    assert!(world.find(&browser).await.is_some());
    world.clock.advance(DAY * 6);
    assert!(world.find(&browser).await.is_some());
    world.clock.advance(DAY * 7);
    assert!(world.find(&browser).await.is_none());
}

#[tokio::test]
async fn a_session_ends_after_a_month_in_any_case() {
    let world = world(Scheme::Https).await;
    let browser = world.sign_in().await;
    for _ in 0..5 {
        world.clock.advance(DAY * 5);
        assert!(world.find(&browser).await.is_some());
    }
    world.clock.advance(DAY * 5);
    assert!(world.find(&browser).await.is_none());
}

#[tokio::test]
async fn other_lives_hold_for_open_sessions_and_make_none_longer() {
    let world = world(Scheme::Https).await;
    let (first, second) = (world.sign_in().await, world.sign_in().await);
    world.clock.advance(Duration::from_secs(7200));
    assert!(world.find(&first).await.is_some());
    world.sessions.live_for(SessionLives { idle: Duration::from_secs(3600), ttl: DAY });
    assert!(world.find(&first).await.is_some() && world.find(&second).await.is_none(), "the second was idle");
    assert_eq!(world.sessions.of(&world.ann).await.unwrap().len(), 1);
    for _ in 0..44 {
        world.clock.advance(Duration::from_secs(1800));
        world.find(&first).await;
    }
    assert!(world.find(&first).await.is_none(), "the day is over");
    world.sessions.live_for(SessionLives { idle: DAY * 100, ttl: DAY * 100 });
    let third = world.sign_in().await;
    world.sessions.live_for(SessionLives::default());
    world.clock.advance(DAY * 8);
    world.sessions.sweep().await.unwrap();
    world.sessions.live_for(SessionLives { idle: DAY * 100, ttl: DAY * 100 });
    assert!(world.find(&third).await.is_none(), "it was swept");
}

#[tokio::test]
async fn a_session_knows_the_browser_and_gets_another_cookie() {
    let world = world(Scheme::Https).await;
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_static("Firefox/145.0 (Linux)"));
    let address = "::ffff:192.0.2.7".parse().ok();
    let set = world.sessions.begin(&headers, &world.ann, Means::Provider("github"), address).await.unwrap();
    let before = browser(&set);
    let signed_in = world.find(&before).await.unwrap();
    let listed = world.sessions.of(&world.ann).await.unwrap().remove(0);
    assert_eq!((listed.id, listed.means.as_str()), (signed_in.id, "github"));
    assert_eq!(
        (listed.address.as_deref(), device(&listed.user_agent).as_str()),
        (Some("192.0.2.7"), "Firefox on Linux")
    );

    world.clock.advance(DAY);
    let set = world.sessions.rotate(&signed_in).await.unwrap();
    assert!(set.to_str().unwrap().ends_with(&format!("Max-Age={}", 29 * DAY.as_secs())), "{set:?}");
    assert!(world.find(&before).await.is_none());
    let after = world.find(&browser(&set)).await.unwrap();
    assert_eq!((after.id, after.since), (signed_in.id, signed_in.since));
    assert!(!world.sessions.is_recent(&after));
}

#[tokio::test]
async fn use_is_written_down_once_a_minute() {
    let world = world(Scheme::Https).await;
    let browser = world.sign_in().await;
    let begun = world.last_seen(&browser).await;
    world.clock.advance(Duration::from_secs(30));
    world.find(&browser).await.unwrap();
    assert_eq!(world.last_seen(&browser).await, begun);
    world.clock.advance(Duration::from_secs(30));
    world.find(&browser).await.unwrap();
    assert!(world.last_seen(&browser).await >= begun.after(TOUCH_EVERY));
}

#[tokio::test]
async fn signing_in_again_makes_a_new_session_and_ends_the_old_one() {
    let world = world(Scheme::Https).await;
    let before = world.sign_in().await;
    let csrf_token = world.find(&before).await.unwrap().csrf_token;
    let after = browser(&world.sessions.begin(&before, &world.ann, Means::Password, None).await.unwrap());
    assert!(world.find(&before).await.is_none());
    assert_ne!(world.find(&after).await.unwrap().csrf_token, csrf_token);
}

#[tokio::test]
async fn the_sessions_of_a_disabled_person_are_gone_for_good() {
    let world = world(Scheme::Https).await;
    let browser = world.sign_in().await;
    world.store.set_user_disabled(world.ann.id, true).await.unwrap();
    assert!(world.find(&browser).await.is_none());
    world.store.set_user_disabled(world.ann.id, false).await.unwrap();
    assert!(world.find(&browser).await.is_none());
}

#[tokio::test]
async fn a_visitor_keeps_its_cookie_and_form_token() {
    let world = world(Scheme::Https).await;
    let first = world.sessions.visitor(&HeaderMap::new());
    let set = first.set_cookie.unwrap();
    let (pair, attributes) = set.to_str().unwrap().split_once("; ").unwrap();
    assert!(pair.starts_with("__Host-portcullis-visitor="), "{pair}");
    assert_eq!(attributes, "Secure; HttpOnly; SameSite=Lax; Path=/");

    let again = world.sessions.visitor(&browser(&set));
    assert!(again.set_cookie.is_none());
    assert_eq!(again.csrf_token, first.csrf_token);
    assert!(world.find(&browser(&set)).await.is_none());

    let malformed = world.sessions.visitor(&cookies(&["__Host-portcullis-visitor=x"]));
    assert!(malformed.set_cookie.is_some());
    assert_ne!(malformed.csrf_token, first.csrf_token);
}
