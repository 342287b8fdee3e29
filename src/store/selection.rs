//! What people see at `/mcp`: everything but what they have hidden.

use super::database::{query, query_as};
use super::*;
use crate::ids::UserId;

/// An upstream, and which of a person's accounts there, as they are in the rows of connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberName {
    /// The upstream's authority.
    pub authority: String,
    /// Empty for the plain account.
    pub account: String,
}

impl Store {
    /// What a person has hidden, by authority and account.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn hidden_members(&self, user: UserId) -> Result<Vec<MemberName>, StoreError> {
        let select =
            query_as("SELECT authority, account FROM hidden_members WHERE user_id = ? ORDER BY authority, account");
        let rows: Vec<(String, String)> = select.bind(user).fetch_all(self.database.readers()).await?;
        Ok(rows.into_iter().map(|(authority, account)| MemberName { authority, account }).collect())
    }

    /// Hides something from a person's `/mcp`; `false` when it was hidden already. What changed is told
    /// ([`Change::SelectionChanged`]).
    ///
    /// # Errors
    /// [`StoreError::Database`], also when there is no such person.
    pub async fn hide_member(&self, user: UserId, member: &MemberName) -> Result<bool, StoreError> {
        self.select(
            "INSERT INTO hidden_members (user_id, authority, account) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            user,
            member,
        )
        .await
    }

    /// Shows it again; `false` when it was not hidden.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn show_member(&self, user: UserId, member: &MemberName) -> Result<bool, StoreError> {
        self.select("DELETE FROM hidden_members WHERE user_id = ? AND authority = ? AND account = ?", user, member)
            .await
    }

    async fn select(&self, statement: &'static str, user: UserId, member: &MemberName) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction().await?;
        let statement = query(statement).bind(user).bind(&member.authority).bind(&member.account);
        let changed = statement.execute(&mut transaction).await?.rows_affected() > 0;
        if changed {
            transaction.record(Change::SelectionChanged(user));
        }
        transaction.commit().await?;
        Ok(changed)
    }
}
