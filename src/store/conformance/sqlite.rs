//! What only a file can promise: it stays, it is shared, it is private, and it is refused when it is not ours.

use super::*;
use crate::ids::Digest;
use crate::store::database::{On, query, query_as};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

async fn refusal(url: &str) -> String {
    match Store::open(url).await {
        Err(StoreError::Unusable(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{url} was opened"),
    }
}

#[tokio::test]
async fn a_file_keeps_everything_and_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b c%20/portcullis.db");
    let store = Store::open(&url(&path)).await.unwrap();
    let ada = known_user(&store, "ada").await;
    let granted = known_grant(&store, ada).await;
    store.insert_refresh_token(&refresh_token(granted, "token")).await.unwrap();
    let connected = store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    let intent = Intent { connection: connected, version: 1, holder: "a", presented: Digest::of("refresh token") };
    store.begin_refresh(&intent, NOW).await.unwrap();
    let change = store.latest_change().await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_extension("db-wal")), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    drop(store);

    let store = Store::open(&url(&path)).await.unwrap();
    assert_eq!(store.user_by_name("ada").await.unwrap().unwrap().id, ada);
    assert!(store.grant(granted).await.unwrap().is_some());
    assert!(store.refresh_token(&Digest::of("token")).await.unwrap().is_some());
    assert_eq!(store.connection_by_id(connected).await.unwrap().unwrap().refreshing_since, Some(NOW));
    assert_eq!(store.latest_change().await.unwrap(), change);
}

#[tokio::test]
async fn sessions_of_an_earlier_version_go_on() {
    let options = sqlx::sqlite::SqliteConnectOptions::new();
    let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let first = include_str!("../../../migrations/sqlite/0001_initial.sql");
    let ninth = include_str!("../../../migrations/sqlite/0009_factors.sql");
    let rows = "INSERT INTO users VALUES (zeroblob(16), 'ada', NULL, NULL, 'member', 0, 1);
                INSERT INTO sessions VALUES (zeroblob(32), zeroblob(16), 5, 6, 7);";
    for sql in [first, rows, ninth] {
        sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    }
    let session: Session = query_as("SELECT * FROM sessions").fetch_one(On::SqlitePool(&pool)).await.unwrap();
    assert_eq!((session.token, session.created_at.0, session.expires_at.0), (Digest([0; 32]), 5, 7));
    assert_eq!((session.means.as_str(), session.address), ("password", None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let url = url(&directory.path().join("portcullis.db"));
    let (one, two) = tokio::join!(Store::open(&url), Store::open(&url));
    let (one, two) = (one.unwrap(), two.unwrap());
    let ada = known_user(&one, "ada").await;
    let granted = known_grant(&two, ada).await;
    let seen = two.latest_change().await.unwrap();
    assert!(one.revoke_grant(granted, NOW).await.unwrap());
    assert_eq!(told(&two, seen).await, [Change::GrantRevoked(granted)]);

    let other = known_grant(&one, ada).await;
    let digest = Digest::of(other.to_string());
    let consumers = winners(|number| {
        let store = if number % 2 == 0 { one.clone() } else { two.clone() };
        async move { store.consume_code(&digest, NOW).await.unwrap() }
    });
    assert_eq!(consumers.await, 1);
}

#[tokio::test]
async fn what_is_not_ours_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text");
    std::fs::write(&text, "this is not a database, and it is long enough to be looked at as one".repeat(20)).unwrap();
    let told = refusal(&url(&text)).await;
    assert!(told.contains("is not a database of portcullis") && told.contains(text.to_str().unwrap()), "{told}");

    let below_a_file = text.join("portcullis.db");
    let told = refusal(&url(&below_a_file)).await;
    assert!(told.contains("cannot write") && told.contains("store.url"), "{told}");
    assert!(refusal(&url(directory.path())).await.contains("cannot write"));

    for (url, hint) in [
        ("mysql://localhost/portcullis", "sqlite:///path"),
        ("sqlite://", "must name a file"),
        ("sqlite:///a.db?mode=ro", "no parameters"),
    ] {
        assert!(refusal(url).await.contains(hint), "{url}");
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let url = url(&directory.path().join("portcullis.db"));
    let store = Store::open(&url).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'from the future', TRUE, x'00', 0)";
    query(newer).execute(store.database.writer()).await.unwrap();
    assert!(refusal(&url).await.contains("newer version"));
}

#[tokio::test]
async fn damaged_rows_are_told_apart() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let ada = known_user(&store, "ada").await;
    query("UPDATE users SET role = 'king'").execute(store.database.writer()).await.unwrap();
    assert!(matches!(store.user(ada).await, Err(StoreError::Damaged("user"))));
}

#[tokio::test]
async fn a_change_that_is_not_understood_hides_no_others() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    for kind in ["storm", "grant", "keys"] {
        let insert = query("INSERT INTO changes (kind) VALUES (?)").bind(kind);
        insert.execute(store.database.writer()).await.unwrap();
    }
    let changes = store.changes_after(0).await.unwrap();
    assert_eq!(changes, [(1, None), (2, None), (3, Some(Change::KeysChanged))]);
}
