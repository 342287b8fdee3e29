//! Groups that people belong to. A membership has a source: an administrator (`''`), or the identity provider that said so.

use super::database::{Bind as _, Lock, QueryBuilder, Transaction, query, query_as, query_scalar};
use super::*;
use crate::ids::UserId;

/// The source of what an administrator set.
pub const BY_ADMINISTRATOR: &str = "";

impl Store {
    /// The groups of a person, whoever said so, sorted by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn groups_of(&self, user: UserId) -> Result<Vec<String>, StoreError> {
        let select = query_scalar("SELECT DISTINCT name FROM user_groups WHERE user_id = ? ORDER BY name").bind(user);
        Ok(select.fetch_all(self.database.readers()).await?)
    }

    /// The groups of a person with who said so: [`BY_ADMINISTRATOR`], or the name of an identity provider.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn memberships_of(&self, user: UserId) -> Result<Vec<(String, String)>, StoreError> {
        let select = query_as("SELECT name, source FROM user_groups WHERE user_id = ? ORDER BY name, source");
        Ok(select.bind(user).fetch_all(self.database.readers()).await?)
    }

    /// All memberships, by person and name; one that has two sources is there once.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn memberships(&self) -> Result<Vec<(UserId, String)>, StoreError> {
        let select = query_as("SELECT DISTINCT user_id, name FROM user_groups ORDER BY user_id, name");
        Ok(select.fetch_all(self.database.readers()).await?)
    }

    /// All groups that have members, with how many, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn groups(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let select = query_as("SELECT name, COUNT(DISTINCT user_id) FROM user_groups GROUP BY name ORDER BY name");
        Ok(select.fetch_all(self.database.readers()).await?)
    }

    /// The members of any of these groups.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn members_of(&self, groups: &[&str]) -> Result<Vec<(String, UserId)>, StoreError> {
        self.named("SELECT DISTINCT name, user_id FROM user_groups WHERE name IN ", groups).await
    }

    /// People by name, ASCII case aside; those that there are, with their names as they are written here.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn users_named(&self, names: &[&str]) -> Result<Vec<(String, UserId)>, StoreError> {
        let names: Vec<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.named("SELECT name, id FROM users WHERE lower(name) IN ", &names).await
    }

    async fn named(&self, select: &str, names: &[&str]) -> Result<Vec<(String, UserId)>, StoreError> {
        let mut found = Vec::new();
        for some in names.chunks(BOUND) {
            let mut select = QueryBuilder::new(select);
            select.push_tuple(some.iter().map(|name| name.value()));
            found.extend(select.build_query_as::<(String, UserId)>().fetch_all(self.database.readers()).await?);
        }
        Ok(found)
    }

    /// Replaces what one source says about a person; what others say stays. Whether that changed anything: only then is
    /// it told ([`Change::PeopleChanged`]).
    ///
    /// # Errors
    /// [`StoreError::Database`], also when there is no such person.
    pub async fn set_groups(&self, user: UserId, source: &str, groups: &[String]) -> Result<bool, StoreError> {
        // Alone, because two that compare with the same past would keep both futures.
        let mut transaction = self.database.transaction_alone(Lock::Groups).await?;
        let select = query_scalar("SELECT name FROM user_groups WHERE user_id = ? AND source = ?");
        let old: Vec<String> = select.bind(user).bind(source).fetch_all(&mut transaction).await?;
        let mut changed = false;
        for gone in old.iter().filter(|name| !groups.contains(name)) {
            changed |= delete(&mut transaction, user, source, gone).await?;
        }
        for new in groups {
            changed |= insert(&mut transaction, user, source, new).await?;
        }
        tell_if(changed, transaction).await
    }

    /// Forgets what providers said that are not among `configured` any more: nobody can take it back there. Whether that
    /// changed anything.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn keep_group_sources(&self, configured: &[&str]) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::Groups).await?;
        let mut delete = QueryBuilder::new("DELETE FROM user_groups WHERE source NOT IN ");
        delete.push_tuple([BY_ADMINISTRATOR].iter().chain(configured).map(|source| source.value()));
        let changed = delete.build().execute(&mut transaction).await?.rows_affected() > 0;
        tell_if(changed, transaction).await
    }

    /// Puts a person into a group, by an administrator; `false` when an administrator did that before.
    ///
    /// # Errors
    /// [`StoreError::Database`], also when there is no such person.
    pub async fn add_group(&self, user: UserId, group: &str) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction().await?;
        let changed = insert(&mut transaction, user, BY_ADMINISTRATOR, group).await?;
        tell_if(changed, transaction).await
    }

    /// Takes back what an administrator said; `false` when none did. What a provider says stays.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn remove_group(&self, user: UserId, group: &str) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction().await?;
        let changed = delete(&mut transaction, user, BY_ADMINISTRATOR, group).await?;
        tell_if(changed, transaction).await
    }
}

/// How many values one statement names.
const BOUND: usize = 500;

async fn insert(transaction: &mut Transaction, user: UserId, source: &str, group: &str) -> Result<bool, StoreError> {
    let insert = query("INSERT INTO user_groups (user_id, name, source) VALUES (?, ?, ?) ON CONFLICT DO NOTHING");
    let done = insert.bind(user).bind(group).bind(source).execute(&mut *transaction).await?;
    Ok(done.rows_affected() > 0)
}

async fn delete(transaction: &mut Transaction, user: UserId, source: &str, group: &str) -> Result<bool, StoreError> {
    let delete = query("DELETE FROM user_groups WHERE user_id = ? AND name = ? AND source = ?");
    let done = delete.bind(user).bind(group).bind(source).execute(&mut *transaction).await?;
    Ok(done.rows_affected() > 0)
}

async fn tell_if(changed: bool, mut transaction: Transaction) -> Result<bool, StoreError> {
    if changed {
        transaction.record(Change::PeopleChanged);
    }
    transaction.commit().await?;
    Ok(changed)
}
