//! SQLite: opening, pragmas, migrations.
#[derive(Clone)]
pub(super) struct Pools;
