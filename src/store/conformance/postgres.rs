//! What only a server can promise: several nodes share it, it is refused when it is not fit, and it can be lost.

use super::testing::postgres::Cluster;
use super::*;
use crate::store::database::{Lock, query, query_as, query_scalar};
use sqlx::{AssertSqlSafe, Executor as _};
use std::collections::BTreeSet;

async fn refusal(url: &str) -> String {
    match Store::open(url).await {
        Err(StoreError::Unusable(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{url} was opened"),
    }
}

async fn fresh() -> Store {
    Store::open(&testing::postgres_url().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_at_once_make_one_schema() {
    let url = Cluster::shared().empty().await;
    let nodes: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn({
                let url = url.clone();
                async move { Store::open_with(&url, 2).await.map(drop) }
            })
        })
        .collect();
    for node in nodes {
        node.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn both_databases_have_the_same_tables() {
    // Table, column, whether it may be NULL, and what it holds.
    type Columns = BTreeSet<(String, String)>;
    let sqlite = Store::open("sqlite::memory:").await.unwrap();
    let tables: Vec<String> =
        query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            .fetch_all(sqlite.database.readers())
            .await
            .unwrap();
    let mut of_sqlite = Columns::new();
    for table in tables.iter().filter(|table| !table.starts_with('_')) {
        let columns: Vec<(String, String)> = query_as(
            "SELECT name, type || CASE WHEN \"notnull\" OR pk > 0 THEN ' NOT NULL' ELSE '' END FROM pragma_table_info(?)",
        )
        .bind(table)
        .fetch_all(sqlite.database.readers())
        .await
        .unwrap();
        of_sqlite.extend(columns.into_iter().map(|(name, kind)| (format!("{table}.{name}"), kind)));
    }
    let columns: Vec<(String, String)> = query_as(
        "SELECT table_name || '.' || column_name,
             CASE WHEN data_type = 'text' AND COALESCE(collation_name, '') = 'C' THEN 'TEXT'
                  WHEN data_type = 'bytea' THEN 'BLOB'
                  WHEN data_type IN ('bigint', 'boolean') THEN 'INTEGER'
                  ELSE data_type || ' with collation ' || COALESCE(collation_name, 'of the database') END
             || CASE WHEN is_nullable = 'NO' THEN ' NOT NULL' ELSE '' END
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_%'",
    )
    .fetch_all(fresh().await.database.readers())
    .await
    .unwrap();
    let of_postgres: Columns = columns.into_iter().collect();
    let differing: Vec<_> = of_sqlite.symmetric_difference(&of_postgres).collect();
    assert!(differing.is_empty(), "{differing:#?}");
    assert!(of_sqlite.len() > 100, "{of_sqlite:?}");
}

/// Readers poll for what is greater than what they have seen; so nothing smaller may come later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_of_changes_appear_in_their_order() {
    const WRITERS: usize = 12;
    const EACH: usize = 20;
    let store = fresh().await;
    let ada = known_user(&store, "ada").await;
    let start = store.latest_change().await.unwrap();
    let write = |writer: usize| {
        let store = store.clone();
        async move {
            for number in 0..EACH {
                store
                    .put_connection(&connection(ada, &format!("{writer}.example"), &number.to_string()))
                    .await
                    .unwrap();
            }
        }
    };
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(writer))).collect();
    let (mut seen, mut last) = (BTreeSet::new(), start);
    while seen.len() < WRITERS * EACH {
        for (number, change) in store.changes_after(last).await.unwrap() {
            assert!(number > last);
            last = number;
            let Some(Change::ConnectionChanged(id)) = change else { panic!("{change:?}") };
            assert!(seen.insert(id.0));
        }
        let done = writers.iter().all(tokio::task::JoinHandle::is_finished);
        assert!(
            !done || store.changes_after(last).await.unwrap().len() + seen.len() == WRITERS * EACH,
            "some were missed"
        );
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_hears_of_what_was_committed_alone() {
    let url = testing::postgres_url().await;
    let (one, two) = (Store::open(&url).await.unwrap(), Store::open(&url).await.unwrap());
    let mut listener = one.listen().await.unwrap().unwrap();
    let mut transaction = two.database.transaction().await.unwrap();
    transaction.record(Change::KeysChanged);
    transaction.rollback().await.unwrap();
    let ada = known_user(&two, "ada").await;
    assert_eq!(listener.changed().await, Heard::Changed);
    assert_eq!(told(&one, 0).await, [Change::PeopleChanged]);
    let granted = known_grant(&two, ada).await;
    two.revoke_grant(granted, NOW).await.unwrap();
    assert_eq!(listener.changed().await, Heard::Changed);
    assert_eq!(told(&one, 1).await, [Change::GrantRevoked(granted)]);
    assert!(Store::open("sqlite::memory:").await.unwrap().listen().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_cut_off_is_told_so_and_hears_again() {
    let cluster = Cluster::shared();
    let store = fresh().await;
    let mut listener = store.listen().await.unwrap().unwrap();
    let name: String =
        query_scalar("SELECT current_database()::text").fetch_one(store.database.readers()).await.unwrap();
    let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    cluster.administrator("postgres").await.execute(AssertSqlSafe(cut)).await.unwrap();
    assert_eq!(listener.changed().await, Heard::Lost);
    assert_eq!(listener.changed().await, Heard::Changed, "whoever comes back has to look");
    known_user(&store, "ada").await;
    assert_eq!(listener.changed().await, Heard::Changed);
}

/// `portcullis migrate` right behind the end of a gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_leaving_does_not_use_a_database_any_more() {
    const ASKED: &str = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
        AND state = 'idle' AND query LIKE '%FROM pg_stat_activity%')";
    let url = testing::postgres_url().await;
    let store = Store::open(&url).await.unwrap();
    store.latest_change().await.unwrap();
    assert!(Store::is_in_use(&url).await.unwrap());
    let asking = tokio::spawn(async move { Store::is_in_use(&url).await });
    let has_asked = async || query_scalar::<bool>(ASKED).fetch_one(store.database.readers()).await.unwrap();
    while !asking.is_finished() && !has_asked().await {}
    store.close().await;
    assert!(!asking.await.unwrap().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_fails_or_is_dropped_did_not_happen() {
    let store = Store::open_with(&testing::postgres_url().await, 1).await.unwrap();
    let mut transaction = store.database.transaction().await.unwrap();
    query("INSERT INTO settings (name, value) VALUES ('a', ?)")
        .bind(&b"1"[..])
        .execute(&mut transaction)
        .await
        .unwrap();
    query("INSERT INTO settings (name, value) VALUES ('a', ?)")
        .bind(&b"2"[..])
        .execute(&mut transaction)
        .await
        .err()
        .unwrap();
    assert!(transaction.commit().await.is_err(), "PostgreSQL would say that it is committed");
    let mut transaction = store.database.transaction_alone(Lock::Groups).await.unwrap();
    query("INSERT INTO settings (name, value) VALUES ('b', ?)")
        .bind(&b"1"[..])
        .execute(&mut transaction)
        .await
        .unwrap();
    drop(transaction);
    // There is one connection, and it has neither a transaction nor a lock any more.
    store.database.transaction_alone(Lock::Groups).await.unwrap().commit().await.unwrap();
    assert_eq!((store.setting("a").await.unwrap(), store.setting("b").await.unwrap()), (None, None));
}

#[tokio::test]
async fn a_text_with_a_zero_is_nobody_s_and_no_trouble() {
    let store = fresh().await;
    known_user(&store, "ada").await;
    assert!(store.user_by_name("ada\0").await.unwrap().is_none());
    assert!(store.users_named(&["ada\0"]).await.unwrap().is_empty());
    assert!(store.client("realm\0", "\0").await.unwrap().is_none());
    store.append_audit(&[AuditEvent::new(NOW, "a\0", "b", "c", None)]).await.unwrap();
}

#[tokio::test]
async fn what_is_not_fit_is_refused_with_what_to_do() {
    let cluster = Cluster::shared();
    let mut administrator = cluster.administrator("postgres").await;
    for sql in [
        "CREATE ROLE guarded LOGIN PASSWORD 'right'",
        "CREATE ROLE refused LOGIN",
        "CREATE ROLE guest LOGIN",
        "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0",
    ] {
        administrator.execute(sql).await.unwrap();
    }
    let empty = cluster.empty().await;
    let database = empty.split('/').nth(3).unwrap().split('?').next().unwrap().to_owned();
    for (url, hint) in [
        (cluster.url("guarded:wr0ng", "postgres"), "refuses the password of guarded"),
        (cluster.url("refused", "postgres"), "pg_hba.conf"),
        (cluster.url("nobody", "postgres"), "create the user"),
        (cluster.url("postgres", "nowhere"), "CREATE DATABASE nowhere OWNER postgres"),
        (cluster.url("guest", &database), "ALTER DATABASE"),
        (cluster.url("postgres", "latin"), "ENCODING 'UTF8'"),
        ("postgres://u:s3cret@localhost:1/d".to_owned(), "cannot be reached"),
        ("postgres://u:s3cret@localhost/".to_owned(), "user:password@host/database"),
        ("postgres://u:s3cret@localhost:x/d".to_owned(), "user:password@host/database"),
    ] {
        let told = refusal(&url).await;
        assert!(told.contains(hint), "{told}");
        assert!(!told.contains("s3cret") && !told.contains("wr0ng"), "{told}");
    }
    administrator
        .execute(AssertSqlSafe(format!("ALTER DATABASE {database} SET default_transaction_read_only = on")))
        .await
        .unwrap();
    assert!(refusal(&empty).await.contains("is read-only"));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let url = testing::postgres_url().await;
    let store = Store::open(&url).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'from the future', TRUE, decode('00', 'hex'), 0)";
    query(newer).execute(store.database.writer()).await.unwrap();
    assert!(refusal(&url).await.contains("newer version"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_server_is_an_error_and_its_return_is_noticed() {
    let cluster = Cluster::start(false);
    let store = Store::open(&cluster.empty().await).await.unwrap();
    known_user(&store, "ada").await;
    drop(cluster);
    let begun = std::time::Instant::now();
    assert!(matches!(store.user_by_name("ada").await, Err(StoreError::Busy | StoreError::Database(_))));
    assert!(matches!(store.create_user(&user("bob")).await, Err(StoreError::Busy | StoreError::Database(_))));
    assert!(begun.elapsed() < Duration::from_secs(15));
}
