use super::*;

async fn keys() -> (ApiKeys, Clock) {
    let clock = Clock::standing();
    let store = Store::open("sqlite::memory:").await.unwrap();
    (ApiKeys::new(store, clock.clone(), Random::default()), clock)
}

fn new(name: &str) -> NewApiKey {
    NewApiKey { name: name.to_owned(), ..NewApiKey::default() }
}

fn sent(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

async fn accepted(keys: &ApiKeys, fields: &[(&'static str, &str)]) -> Option<ApiKeyId> {
    keys.authenticate(&sent(fields)).await.unwrap().map(|key| key.id())
}

async fn is_refused(keys: &ApiKeys, fields: &[(&'static str, &str)]) -> bool {
    matches!(keys.authenticate(&sent(fields)).await, Err(ApiKeyError::Invalid))
}

#[tokio::test]
async fn a_key_is_taken_from_either_header() {
    let (keys, _) = keys().await;
    let (first, second) = (keys.create(&new("a")).await.unwrap(), keys.create(&new("b")).await.unwrap());
    let (key, other) = (first.key.expose(), second.key.expose());
    let (bearer, foreign) = (format!("bearer {key}"), format!("Bearer {other}"));
    assert_eq!(accepted(&keys, &[(HEADER, key)]).await, Some(first.id));
    assert_eq!(accepted(&keys, &[("authorization", &bearer)]).await, Some(first.id));
    assert_eq!(accepted(&keys, &[(HEADER, key), ("authorization", &bearer)]).await, Some(first.id));
    assert!(is_refused(&keys, &[(HEADER, key), ("authorization", &foreign)]).await);
    for not_a_key in ["Bearer a.b.c", "Basic YTpi", "Bearer", "Bearer x"] {
        assert_eq!(accepted(&keys, &[("authorization", not_a_key)]).await, None, "{not_a_key}");
    }
    assert_eq!(accepted(&keys, &[]).await, None);
    assert_eq!(first.key.expose().split_once('.').unwrap().0, first.id.to_string());
}

#[tokio::test]
async fn unknown_wrong_expired_and_revoked_keys_are_refused_alike() {
    let (keys, clock) = keys().await;
    let made = keys.create(&NewApiKey { ttl: Some(Duration::from_secs(100)), ..new("a") }).await.unwrap();
    let other = keys.create(&new("b")).await.unwrap();
    let key = made.key.expose();
    let secret = other.key.expose().split_once('.').unwrap().1;
    let swapped = format!("{}.{secret}", made.id);
    let unknown = format!("{}.{secret}", ApiKeyId::random(&Random::default()));
    for wrong in [swapped.as_str(), &unknown, "garbage", ""] {
        assert!(is_refused(&keys, &[(HEADER, wrong)]).await, "{wrong}");
    }
    clock.advance(Duration::from_secs(99));
    assert!(accepted(&keys, &[(HEADER, key)]).await.is_some());
    clock.advance(Duration::from_secs(1));
    assert!(is_refused(&keys, &[(HEADER, key)]).await);
    assert!(keys.revoke(other.id).await.unwrap());
    assert!(is_refused(&keys, &[(HEADER, other.key.expose())]).await);
    assert!(!keys.revoke(other.id).await.unwrap());
}

#[tokio::test]
async fn uses_are_noted_once_a_minute() {
    let (keys, clock) = keys().await;
    let made = keys.create(&new("a")).await.unwrap();
    let last_used = async || keys.list().await.unwrap()[0].last_used_at;
    assert_eq!(last_used().await, None);
    accepted(&keys, &[(HEADER, made.key.expose())]).await;
    let first = last_used().await.unwrap();
    clock.advance(Duration::from_secs(30));
    accepted(&keys, &[(HEADER, made.key.expose())]).await;
    assert_eq!(last_used().await, Some(first));
    clock.advance(Duration::from_secs(31));
    accepted(&keys, &[(HEADER, made.key.expose())]).await;
    assert!(last_used().await.unwrap() > first);
}

#[tokio::test]
async fn a_key_allows_what_it_was_made_for() {
    let (keys, _) = keys().await;
    let made = NewApiKey {
        scopes: vec![ApiScope::Introspect],
        resources: vec!["https://notes.gw.example/mcp".into(), "https://files.gw.example".into()],
        ..new("server")
    };
    let made = keys.create(&made).await.unwrap();
    let key = keys.authenticate(&sent(&[(HEADER, made.key.expose())])).await.unwrap().unwrap();
    assert_eq!(ApiScope::ALL.map(|scope| key.allows(scope)), [false, true, false]);
    assert!(key.may_introspect("https://notes.gw.example/mcp/x") && key.may_introspect("https://files.gw.example/a"));
    assert!(!key.may_introspect("https://notes.gw.example/other") && !key.may_introspect("https://gw.example/mcp"));
    assert_eq!(key.actor(), "apikey:server");

    let broker = keys.create(&NewApiKey { users: vec![UserId([7; 16])], ..new("broker") }).await.unwrap();
    let key = keys.authenticate(&sent(&[(HEADER, broker.key.expose())])).await.unwrap().unwrap();
    assert_eq!(ApiScope::ALL.map(|scope| key.allows(scope)), [false, false, true]);
    // Made in the same second: they stand by name.
    assert_eq!(keys.list().await.unwrap()[0].users, UserId([7; 16]).to_string());
}

#[tokio::test]
async fn contradicting_wishes_are_refused_with_the_fix() {
    use ApiScope::{Admin, Introspect};
    let (keys, _) = keys().await;
    let resource = || vec!["https://a.example".to_owned()];
    for (wish, fix) in [
        (new(""), "1 to 64"),
        (new("a b"), "1 to 64"),
        (NewApiKey { scopes: vec![Introspect], ..new("a") }, "name the scope and the URLs"),
        (NewApiKey { resources: resource(), ..new("a") }, "name the scope and the URLs"),
        (NewApiKey { scopes: vec![Introspect], resources: vec!["a b".into()], ..new("a") }, "a resource is a URL"),
        (NewApiKey { scopes: vec![Admin], services: vec!["x".into()], ..new("a") }, "limit the scope broker"),
        (NewApiKey { services: vec!["x y".into()], ..new("a") }, "name of a service"),
        (NewApiKey { ttl: Some(Duration::ZERO), ..new("a") }, "such as 90d"),
    ] {
        let Err(fault) = keys.create(&wish).await else { panic!("{wish:?}") };
        assert!(fault.public.contains(fix), "{wish:?}: {}", fault.public);
    }
    assert!(keys.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_for_the_broker_keeps_to_its_services_and_people() {
    let (keys, _) = keys().await;
    let (alice, bob) = (UserId::random(&Random::default()), UserId::random(&Random::default()));
    let shown = async |new: NewApiKey| {
        let made = keys.create(&new).await.unwrap();
        keys.authenticate(&sent(&[(HEADER, made.key.expose())])).await.unwrap().unwrap()
    };
    let any = shown(new("any")).await;
    assert!(any.may_use("github") && any.may_act_for(alice) && any.may_act_for_all());
    let narrow = NewApiKey { services: vec!["github".to_owned()], users: vec![alice], ..new("narrow") };
    let narrow = shown(narrow).await;
    assert!(narrow.may_use("github") && !narrow.may_use("git") && !narrow.may_use(""));
    assert!(narrow.may_act_for(alice) && !narrow.may_act_for(bob) && !narrow.may_act_for_all());
    let other = shown(NewApiKey { scopes: vec![ApiScope::Admin], ..new("admin") }).await;
    assert!(!other.may_use("github") && !other.may_act_for(alice) && !other.may_act_for_all());
}
