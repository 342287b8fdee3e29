use super::*;
use crate::clock::Timestamp;
use crate::hostname::Scheme;

fn label(text: &str) -> Label {
    Label::parse(text).or_else(|_| Label::encode(&Authority::parse(text).unwrap())).unwrap()
}

fn encoded(authority: &str) -> Label {
    Label::encode(&Authority::parse(authority).unwrap()).unwrap()
}

fn configured(authority: &str, alias: Option<&str>) -> UpstreamConfig {
    UpstreamConfig {
        authority: Authority::parse(authority).unwrap(),
        name: None,
        alias: alias.map(str::to_owned),
        path: None,
        auth: UpstreamAuth::None,
        allow_private: None,
        tools: None,
        allowed: None,
    }
}

fn decided(authority: &str, decision: Decision, alias: Option<&str>) -> crate::store::Upstream {
    crate::store::Upstream {
        authority: authority.to_owned(),
        decision,
        alias: alias.map(str::to_owned),
        name: None,
        decided_by: None,
        decided_at: Timestamp(0),
    }
}

async fn registry(unknown: Unknown, allow_private: bool, configured: Vec<UpstreamConfig>) -> Registry {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let mut site = Site::new("gw.example", Scheme::Https, 443);
    site.add_own_address(Authority::parse("127.0.0.1:8080").unwrap());
    Registry::new(&Upstreams { unknown, allow_private, ca_file: None, max_requests: 1024 }, configured, site, store)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_policy_is_for_those_that_nobody_named() {
    for (unknown, standing) in [
        (Unknown::Deny, None),
        (Unknown::Ask, Some(Standing::AwaitingApproval)),
        (Unknown::Allow, Some(Standing::Allowed)),
    ] {
        let registry = registry(unknown, false, vec![configured("notes.example", Some("notes"))]).await;
        assert_eq!(registry.find(&encoded("mcp.example")).map(|found| found.standing), standing);
        assert!(registry.find(&label("nobody")).is_none());
        for known in [encoded("notes.example"), label("notes"), label("work--notes")] {
            assert_eq!(registry.find(&known).unwrap().standing, Standing::Allowed);
        }
    }
}

/// DESIGN 1.7: a forbidden or own address is 404 before anything is looked up.
#[tokio::test]
async fn own_and_forbidden_addresses_are_nobody() {
    let public = registry(Unknown::Allow, false, vec![configured("127.0.0.1:9000", Some("local"))]).await;
    for never in ["gw.example", "x.gw.example:81", "127.0.0.1:9000", "localhost:9", "a.localhost", "10.0.0.1"] {
        assert!(public.find(&encoded(never)).is_none(), "{never}");
    }
    assert!(public.find(&label("local")).is_none());
    let private = registry(Unknown::Allow, true, Vec::new()).await;
    for never in ["gw.example", "127.0.0.1:8080", "169.254.169.254", "0.0.0.0:80", "224.0.0.1"] {
        assert!(private.find(&encoded(never)).is_none(), "{never}");
    }
    assert!(private.find(&encoded("127.0.0.1:9000")).is_some());
    assert!(private.find(&encoded("localhost:9000")).is_some());
}

#[tokio::test]
async fn decisions_arrive_with_a_reload_and_the_configuration_stands_above_them() {
    let registry = registry(Unknown::Ask, false, vec![configured("notes.example", Some("notes"))]).await;
    let before = registry.generation();
    for row in [
        decided("good.example", Decision::Approved, Some("good")),
        decided("bad.example", Decision::Denied, None),
        decided("notes.example", Decision::Denied, None),
        decided("thief.example", Decision::Approved, Some("notes")),
    ] {
        registry.store.put_upstream(&row).await.unwrap();
    }
    assert_eq!(registry.find(&encoded("good.example")).unwrap().standing, Standing::AwaitingApproval);
    registry.reload().await.unwrap();
    assert!(registry.generation() > before);
    assert_eq!(registry.find(&encoded("good.example")).unwrap().standing, Standing::Allowed);
    assert_eq!(registry.find(&label("good")).unwrap().authority.as_str(), "good.example");
    assert!(registry.find(&encoded("bad.example")).is_none());
    assert_eq!(registry.find(&label("notes")).unwrap().authority.as_str(), "notes.example");
    let names: Vec<_> = registry.all().iter().map(|upstream| upstream.name.clone()).collect();
    assert_eq!(names, ["good.example", "notes.example", "thief.example"]);
}
