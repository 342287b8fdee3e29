//! Connections and upstreams.

use super::*;

pub(super) async fn renewed_consent_keeps_the_id(store: &Store) {
    let ada = known_user(store, "ada").await;
    let before = store.latest_change().await.unwrap();
    let first = connection(ada, "mcp.example", "");
    assert_eq!(store.put_connection(&first).await.unwrap(), first.id);
    assert!(store.begin_refresh(first.id, 1, NOW).await.unwrap());
    assert!(store.fail_refresh(first.id, 1, ConnectionState::NeedsConsent, "gone").await.unwrap());
    let renewed = Connection { sealed: b"second".to_vec(), updated_at: later(9), ..connection(ada, "mcp.example", "") };
    assert_eq!(store.put_connection(&renewed).await.unwrap(), first.id);
    let work = store.put_connection(&connection(ada, "mcp.example", "work")).await.unwrap();
    assert_ne!(work, first.id);

    let found = store.connection(ada, "mcp.example", "").await.unwrap().unwrap();
    assert_eq!((found.id, found.version, found.sealed.as_slice()), (first.id, 2, &b"second"[..]));
    assert_eq!((found.state, found.last_error), (ConnectionState::Active, None));
    assert_eq!((found.created_at, found.updated_at), (NOW, later(9)));
    assert_eq!(store.connections_of(ada).await.unwrap().len(), 2);
    assert_eq!(store.connections().await.unwrap().len(), 2);
    assert!(store.delete_connection(work).await.unwrap());
    assert!(!store.delete_connection(work).await.unwrap());
    let (first, work) = (Change::ConnectionChanged(first.id), Change::ConnectionChanged(work));
    assert_eq!(told(store, before).await, [first, first, first, work, work]);
}

pub(super) async fn a_refresh_is_begun_once(store: &Store) {
    let ada = known_user(store, "ada").await;
    let id = store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    let begin = |at| {
        winners(move |_| {
            let store = store.clone();
            async move { store.begin_refresh(id, 1, at).await.unwrap() }
        })
    };
    assert_eq!(begin(NOW).await, 1);
    assert_eq!(store.connection_by_id(id).await.unwrap().unwrap().refreshing_since, Some(NOW));
    let lost = NOW.after(REFRESH_LEASE);
    assert_eq!(begin(lost.before(Duration::from_secs(1))).await, 0);
    assert_eq!(begin(lost).await, 1);
    assert!(store.fail_refresh(id, 1, ConnectionState::Active, "502").await.unwrap());
    let failed = store.connection_by_id(id).await.unwrap().unwrap();
    assert_eq!((failed.refreshing_since, failed.last_error.as_deref(), failed.version), (None, Some("502"), 1));
    assert_eq!(begin(lost).await, 1);
}

pub(super) async fn a_refresh_loses_to_a_newer_version(store: &Store) {
    let ada = known_user(store, "ada").await;
    let id = store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    let renewed = RenewedTokens { sealed: b"renewed".to_vec(), scope: "all".to_owned(), expires_at: None };
    assert!(store.begin_refresh(id, 1, NOW).await.unwrap());
    assert!(store.finish_refresh(id, 1, &renewed, later(3)).await.unwrap());
    let found = store.connection_by_id(id).await.unwrap().unwrap();
    assert_eq!((found.version, found.sealed, found.scope), (2, renewed.sealed.clone(), renewed.scope.clone()));
    assert_eq!((found.expires_at, found.refreshing_since, found.updated_at), (None, None, later(3)));

    let before = store.latest_change().await.unwrap();
    assert!(!store.begin_refresh(id, 1, later(4)).await.unwrap());
    assert!(!store.finish_refresh(id, 1, &renewed, later(4)).await.unwrap());
    assert!(!store.fail_refresh(id, 1, ConnectionState::NeedsConsent, "gone").await.unwrap());
    assert_eq!(store.connection_by_id(id).await.unwrap().unwrap().state, ConnectionState::Active);
    assert_eq!(told(store, before).await, []);
}

pub(super) async fn urgent_connections_come_first(store: &Store) {
    let ada = known_user(store, "ada").await;
    let expiring = [("a.example", Some(20)), ("b.example", Some(10)), ("c.example", None), ("d.example", Some(30))];
    for (authority, expiry) in expiring {
        let connection = Connection { expires_at: expiry.map(later), ..connection(ada, authority, "") };
        store.put_connection(&connection).await.unwrap();
    }
    let dead = Connection { state: ConnectionState::NeedsConsent, ..connection(ada, "e.example", "") };
    store.put_connection(&Connection { expires_at: Some(later(1)), ..dead }).await.unwrap();
    let urgent = store.connections_expiring_before(later(30)).await.unwrap();
    let urgent: Vec<_> = urgent.iter().map(|connection| connection.authority.as_str()).collect();
    assert_eq!(urgent, ["b.example", "a.example"]);
}

pub(super) async fn step_ups_go_with_their_connection(store: &Store) {
    let ada = known_user(store, "ada").await;
    let id = store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    assert_eq!(store.step_ups(id).await.unwrap(), None);
    for text in ["old", "new"] {
        store.put_step_ups(id, text).await.unwrap();
    }
    store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    assert_eq!(store.step_ups(id).await.unwrap().as_deref(), Some("new"), "renewed consent keeps them");
    assert!(store.delete_connection(id).await.unwrap());
    assert_eq!(store.step_ups(id).await.unwrap(), None);
    store.put_step_ups(id, "too late").await.unwrap();
    assert_eq!(store.step_ups(id).await.unwrap(), None);
}

pub(super) async fn upstreams_have_an_alias_each(store: &Store) {
    store.put_upstream(&upstream("a.example", Some("notes"))).await.unwrap();
    store.put_upstream(&upstream("b.example", None)).await.unwrap();
    store.put_upstream(&upstream("c.example", None)).await.unwrap();
    let before = store.latest_change().await.unwrap();
    let taken = store.put_upstream(&upstream("b.example", Some("Notes"))).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))));
    assert_eq!(told(store, before).await, []);

    let denied = Upstream { decision: Decision::Denied, name: Some("A".to_owned()), ..upstream("a.example", None) };
    store.put_upstream(&denied).await.unwrap();
    let found = store.upstream("a.example").await.unwrap().unwrap();
    assert_eq!((found.decision, found.alias, found.name.as_deref()), (Decision::Denied, None, Some("A")));
    assert_eq!((found.decided_by, found.decided_at), (None, NOW));
    assert!(store.delete_upstream("b.example").await.unwrap());
    assert!(!store.delete_upstream("b.example").await.unwrap());
    assert_eq!(told(store, before).await, [Change::UpstreamsChanged; 2]);
    let left: Vec<_> = store.upstreams().await.unwrap().into_iter().map(|upstream| upstream.authority).collect();
    assert_eq!(left, ["a.example", "c.example"]);
}

pub(super) async fn what_is_known_of_upstreams_is_replaced(store: &Store) {
    for (text, secret) in [("old", Some(vec![1])), ("new", None)] {
        let found = Discovery { authority: "a.example".to_owned(), document: text.to_owned(), found_at: NOW };
        store.put_discovery(&found).await.unwrap();
        let client = UpstreamClient {
            issuer: "https://a.example".to_owned(),
            redirect_uri: "https://gw.example/oauth/callback".to_owned(),
            client_id: text.to_owned(),
            sealed_secret: secret,
            auth_method: "none".to_owned(),
            expires_at: None,
            created_at: NOW,
        };
        store.put_upstream_client(&client).await.unwrap();
    }
    assert_eq!(store.discovery("a.example").await.unwrap().unwrap().document, "new");
    assert!(store.discovery("b.example").await.unwrap().is_none());
    let (issuer, redirect_uri) = ("https://a.example", "https://gw.example/oauth/callback");
    let client = store.upstream_client(issuer, redirect_uri).await.unwrap().unwrap();
    assert_eq!((client.client_id.as_str(), client.sealed_secret), ("new", None));
    assert!(store.upstream_client(issuer, "https://other.example").await.unwrap().is_none());
    assert!(store.delete_upstream_client(issuer, redirect_uri).await.unwrap());
    assert!(!store.delete_upstream_client(issuer, redirect_uri).await.unwrap());
}
