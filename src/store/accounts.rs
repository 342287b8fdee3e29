//! People and their sessions.

use super::sqlite::Columns;
use super::{Role, Session, Store, StoreError, User};
use crate::clock::Timestamp;
use crate::ids::{Digest, UserId};
use sqlx::sqlite::SqliteRow;

impl Store {
    /// Adds a person.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken, whatever its letter case.
    pub async fn create_user(&self, user: &User) -> Result<(), StoreError> {
        let inserted = sqlx::query(
            "INSERT INTO users (id, name, password_hash, email, role, disabled, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&user.id.0[..])
        .bind(&user.name)
        .bind(&user.password_hash)
        .bind(&user.email)
        .bind(role_text(user.role))
        .bind(user.disabled)
        .bind(user.created_at.0)
        .execute(self.sqlite.writer())
        .await;
        match inserted.map_err(StoreError::from) {
            Err(StoreError::Conflict(_)) => Err(StoreError::Conflict("a person of that name")),
            other => other.map(drop),
        }
    }

    /// The person of an id.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let query = sqlx::query("SELECT * FROM users WHERE id = ?").bind(&id.0[..]);
        query.fetch_optional(self.sqlite.readers()).await?.as_ref().map(user_of).transpose()
    }

    /// The person of a name, whatever its letter case.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        let query = sqlx::query("SELECT * FROM users WHERE name = ?").bind(name);
        query.fetch_optional(self.sqlite.readers()).await?.as_ref().map(user_of).transpose()
    }

    /// Everybody, by name.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        let query = sqlx::query("SELECT * FROM users ORDER BY name");
        query.fetch_all(self.sqlite.readers()).await?.iter().map(user_of).collect()
    }

    /// Whether somebody can administer the gateway.
    pub async fn has_administrator(&self) -> Result<bool, StoreError> {
        let query = "SELECT EXISTS (SELECT 1 FROM users WHERE role = 'administrator' AND NOT disabled)";
        Ok(sqlx::query_scalar(query).fetch_one(self.sqlite.readers()).await?)
    }

    /// Replaces a password's hash.
    pub async fn set_password_hash(&self, id: UserId, hash: &str) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE users SET password_hash = ? WHERE id = ?").bind(hash).bind(&id.0[..]);
        Ok(query.execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// Shuts a person out, or lets them in again.
    pub async fn set_user_disabled(&self, id: UserId, disabled: bool) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE users SET disabled = ? WHERE id = ?").bind(disabled).bind(&id.0[..]);
        Ok(query.execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// Removes a person with sessions and connections, and revokes what they granted. False when there is no such person.
    pub async fn delete_user(&self, id: UserId, now: Timestamp) -> Result<bool, StoreError> {
        self.revoke_grants_of_user(id, now).await?;
        let deleted = sqlx::query("DELETE FROM users WHERE id = ?").bind(&id.0[..]);
        Ok(deleted.execute(self.sqlite.writer()).await?.rows_affected() > 0)
    }

    /// Adds a session.
    pub async fn insert_session(&self, session: &Session) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO sessions (token, user_id, created_at, last_seen_at, expires_at) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&session.token.0[..])
        .bind(&session.user.0[..])
        .bind(session.created_at.0)
        .bind(session.last_seen_at.0)
        .bind(session.expires_at.0);
        Ok(query.execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// The session of a token, unless it has expired.
    pub async fn session(&self, token: &Digest, now: Timestamp) -> Result<Option<Session>, StoreError> {
        let query = sqlx::query("SELECT * FROM sessions WHERE token = ? AND expires_at > ?");
        let row = query.bind(&token.0[..]).bind(now.0).fetch_optional(self.sqlite.readers()).await?;
        row.as_ref().map(session_of).transpose()
    }

    /// Notes that a session was used.
    pub async fn touch_session(&self, token: &Digest, now: Timestamp) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE sessions SET last_seen_at = ? WHERE token = ?").bind(now.0).bind(&token.0[..]);
        Ok(query.execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// Ends a session.
    pub async fn delete_session(&self, token: &Digest) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM sessions WHERE token = ?").bind(&token.0[..]);
        Ok(query.execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// Ends all sessions of a person; how many there were.
    pub async fn delete_sessions_of(&self, user: UserId) -> Result<u64, StoreError> {
        let query = sqlx::query("DELETE FROM sessions WHERE user_id = ?").bind(&user.0[..]);
        Ok(query.execute(self.sqlite.writer()).await?.rows_affected())
    }
}

fn role_text(role: Role) -> &'static str {
    match role {
        Role::Administrator => "administrator",
        Role::Member => "member",
    }
}

fn user_of(row: &SqliteRow) -> Result<User, StoreError> {
    let row = Columns(row);
    Ok(User {
        id: UserId(row.id("id")?),
        name: row.get("name")?,
        password_hash: row.get("password_hash")?,
        email: row.get("email")?,
        role: match row.get("role")? {
            "administrator" => Role::Administrator,
            "member" => Role::Member,
            _ => return Err(StoreError::Damaged("role")),
        },
        disabled: row.get("disabled")?,
        created_at: row.time("created_at")?,
    })
}

fn session_of(row: &SqliteRow) -> Result<Session, StoreError> {
    let row = Columns(row);
    Ok(Session {
        token: row.digest("token")?,
        user: UserId(row.id("user_id")?),
        created_at: row.time("created_at")?,
        last_seen_at: row.time("last_seen_at")?,
        expires_at: row.time("expires_at")?,
    })
}
