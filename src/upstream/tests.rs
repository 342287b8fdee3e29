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
        kind: Default::default(),
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

#[tokio::test]
async fn permissions_become_people_and_follow_them() {
    let mut notes = configured("notes.example", None);
    notes.allowed = Some(Permitted { users: vec!["ANN".to_owned()], groups: vec!["dev".to_owned()] });
    let registry = registry(Unknown::Allow, false, vec![notes, configured("mail.example", None)]).await;
    let authority = |text: &str| Authority::parse(text).unwrap();
    let (notes, mail, other) = (authority("notes.example"), authority("mail.example"), authority("other.example"));
    let (ann, bob) = (person(&registry, "ann", 1).await, person(&registry, "bob", 2).await);
    let generation = registry.generation();
    assert!(registry.may_use(bob, &mail) && registry.may_use(bob, &other));
    assert!(!registry.may_use(ann, &notes), "the database has not been asked");
    assert!(registry.permits(ann, &notes).await.unwrap());
    assert!(registry.may_use(ann, &notes) && registry.generation() > generation);
    assert!(!registry.permits(bob, &notes).await.unwrap());

    let generation = registry.generation();
    registry.store.add_group(bob, "elsewhere").await.unwrap();
    assert!(!registry.reload_people().await.unwrap(), "a group that no permission names");
    assert_eq!(registry.generation(), generation);
    registry.store.add_group(bob, "dev").await.unwrap();
    assert!(registry.reload_people().await.unwrap());
    assert!(registry.may_use(bob, &notes));

    let row = crate::store::UpstreamAccess { authority: other.to_string(), users: vec![ann], groups: Vec::new() };
    registry.store.put_upstream_access(&row).await.unwrap();
    // What the configuration names, the database says nothing about.
    let row = crate::store::UpstreamAccess { authority: mail.to_string(), users: Vec::new(), groups: Vec::new() };
    registry.store.put_upstream_access(&row).await.unwrap();
    registry.reload().await.unwrap();
    assert!(registry.may_use(ann, &other) && !registry.may_use(bob, &other) && registry.may_use(bob, &mail));

    registry.store.disable_user(ann, Timestamp(0)).await.unwrap();
    registry.reload_people().await.unwrap();
    assert!(!registry.may_use(ann, &notes) && !registry.may_use(ann, &mail));
}

#[tokio::test]
async fn about_tools_the_configuration_and_administrators_both_have_a_say() {
    let patterns = |texts: &[&str]| texts.iter().map(|text| crate::mcp::Pattern::parse(text).unwrap()).collect();
    let mut notes = configured("notes.example", None);
    notes.tools = ToolPolicy::new(None, patterns(&["drop"]));
    let registry = registry(Unknown::Allow, false, vec![notes]).await;
    let said = |authority: &str, allowed: Option<&[&str]>, denied: &[&str]| crate::store::UpstreamTools {
        authority: authority.to_owned(),
        allowed: allowed.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect()),
        denied: denied.iter().map(|text| (*text).to_owned()).collect(),
    };
    assert_eq!(registry.limited().len(), 1);
    for row in [said("notes.example", Some(&["*_a", "drop"]), &[]), said("other.example", None, &["x"])] {
        registry.store.put_upstream_tools(&row).await.unwrap();
    }
    // What is no pattern may have been there to deny: nothing is permitted.
    registry.store.put_upstream_tools(&said("broken.example", None, &["["])).await.unwrap();
    registry.reload().await.unwrap();
    let permits = |authority: &str, tool: &str| {
        let upstream = registry.by_authority(&Authority::parse(authority).unwrap()).unwrap();
        upstream.tools.as_ref().is_none_or(|tools| tools.permits(tool))
    };
    let asked = [("notes.example", "get_a"), ("notes.example", "get_b"), ("notes.example", "drop")];
    assert_eq!(asked.map(|(authority, tool)| permits(authority, tool)), [true, false, false]);
    assert!(permits("other.example", "y") && !permits("other.example", "x") && !permits("broken.example", "y"));
    assert_eq!(registry.limited().len(), 3);
    let configured = registry.tools_by_configuration(&Authority::parse("notes.example").unwrap()).unwrap();
    assert!(configured.permits("get_b"), "what administrators say is not in it");
}

async fn person(registry: &Registry, name: &str, number: u8) -> UserId {
    let user = crate::store::User {
        id: UserId([number; 16]),
        name: name.to_owned(),
        password_hash: None,
        email: None,
        role: crate::store::Role::Member,
        disabled: false,
        created_at: Timestamp(0),
    };
    registry.store.create_user(&user).await.unwrap();
    user.id
}

#[tokio::test]
async fn a_destination_is_remembered_in_its_usual_spelling_until_something_changes() {
    let registry = Arc::new(registry(Unknown::Ask, false, vec![configured("notes.example", Some("notes"))]).await);
    let (clock, random) = (crate::clock::Clock::standing(), crate::ids::Random::default());
    let health = HealthTable::new(clock, random, 10);
    let destinations = Destinations::new(registry.site.clone(), registry.clone(), health);
    assert!(destinations.remembered("notes.gw.example").is_none());
    let notes = destinations.of(label("notes")).unwrap();
    assert_eq!(notes.origin, "https://notes.gw.example");
    assert!(Arc::ptr_eq(&notes, &destinations.remembered("notes.gw.example").unwrap()));
    // Whoever writes it otherwise has to be understood first, and then gets the same.
    assert!(destinations.remembered("NOTES.gw.example:443").is_none());
    assert!(Arc::ptr_eq(&notes, &destinations.of(label("notes")).unwrap()));
    // The same upstream by its own name: another issuer, the same health.
    let by_name = destinations.of(encoded("notes.example")).unwrap();
    assert!(Arc::ptr_eq(&by_name.health, &notes.health) && by_name.origin != notes.origin);
    // Names that anybody can make up take no place.
    let made_up = destinations.of(encoded("made-up.example")).unwrap();
    let host = made_up.origin.strip_prefix("https://").unwrap();
    assert!(!made_up.is_usable() && destinations.remembered(host).is_none());
    registry.reload().await.unwrap();
    assert!(destinations.remembered("notes.gw.example").is_none());
    let renewed = destinations.of(label("notes")).unwrap();
    assert!(!Arc::ptr_eq(&renewed, &notes) && Arc::ptr_eq(&renewed.health, &notes.health));
    assert!(destinations.of(label("nobody")).is_none());
}
