//! Databases for tests.

#[path = "../../tests/support/postgres.rs"]
#[allow(dead_code, unreachable_pub)]
pub(crate) mod postgres;

use super::Store;

/// The URL of a new database of PostgreSQL that is up to date.
pub(crate) async fn postgres_url() -> String {
    let migrate = async |url: String| Store::open_with(&url, 1).await.unwrap().close().await;
    postgres::Cluster::shared().prepared(migrate).await
}
