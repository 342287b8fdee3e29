//! The page on which people give an upstream by hand what it wants of them. The flow of a client, `/oauth/start` and the lists
//! of the dashboard lead there, as they lead to the authorization server of another upstream.

use super::connect::{Goal, not_permitted};
use super::failure::{Failure, local_path, message, see_other};
use super::sent::Sent;
use super::start::address::sentence;
use super::{Dashboard, rows};
use crate::administration::Refused;
use crate::connect::{ConnectionKey, PERSONAL_PAGE};
use crate::hostname::Account;
use crate::page::{self, CredentialField, CredentialPage};
use crate::secret::Secret;
use crate::session::SignedIn;
use crate::upstream::{Kind, Personal, Standing};
use axum::extract::{Query, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;
use url::form_urlencoded::Serializer;

/// What the names of the fields begin with.
const FIELD: &str = "value.";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CredentialQuery {
    server: String,
    account: String,
    return_to: String,
}

/// `GET /upstreams/credentials`
pub(super) async fn form(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Query(query): Query<CredentialQuery>,
) -> Result<Response, Failure> {
    let person = dashboard.person(&headers, &query.address()).await?;
    match dashboard.wanted(&person, &query).await? {
        Ok(wanted) => dashboard.credential_page(&person, &wanted, &query, None).await,
        Err(answer) => Ok(answer),
    }
}

/// `POST /upstreams/credentials`: keeps what is given and goes on as `/oauth/callback` does.
pub(super) async fn keep(
    State(dashboard): State<Arc<Dashboard>>,
    Query(query): Query<CredentialQuery>,
    sent: Sent<Vec<(String, Secret)>>,
) -> Result<Response, Failure> {
    let field = |name: &str| sent.form.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.expose());
    if field("decision") != "approve" {
        return Ok(see_other(&query.declined()));
    }
    let wanted = match dashboard.wanted(&sent.person, &query).await? {
        Ok(wanted) => wanted,
        Err(answer) => return Ok(answer),
    };
    dashboard.limits.check_user_upstream(sent.person.user.id, &wanted.goal.upstream.authority)?;
    // What is left empty stays as it is.
    let values = sent.form.iter().filter_map(|(field, value)| Some((field.strip_prefix(FIELD)?, value)));
    let given: Vec<_> = values.filter(|(_, value)| !value.expose().is_empty()).collect();
    let (key, upstream) = (&wanted.key, &wanted.goal.upstream);
    if given.is_empty() && !dashboard.connections.needs_consent(key).await? {
        return Ok(see_other(query.return_to()));
    }
    match dashboard.administration.keep_credentials(&sent.actor(), &sent.person.user, key, upstream, &given).await {
        Ok(()) => Ok(see_other(query.return_to())),
        Err(Refused::Invalid(why)) => dashboard.credential_page(&sent.person, &wanted, &query, Some(&why)).await,
        Err(refused) => Err(refused.into()),
    }
}

impl CredentialQuery {
    /// The address of this very page.
    fn address(&self) -> String {
        let mut query = Serializer::new(String::new());
        for (name, value) in [("server", &self.server), ("account", &self.account), ("return_to", &self.return_to)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        format!("{PERSONAL_PAGE}?{}", query.finish())
    }

    fn return_to(&self) -> &str {
        local_path(&self.return_to)
    }

    /// Where somebody goes who gives nothing: a client that waits learns it.
    fn declined(&self) -> String {
        match self.return_to() {
            path if path.starts_with("/authorize") && path.contains('?') => format!("{path}&cancel=denied"),
            path => path.to_owned(),
        }
    }
}

/// What is to be given.
struct Wanted {
    goal: Goal,
    key: ConnectionKey,
    personal: Personal,
}

impl Dashboard {
    /// What the upstream wants of this person; otherwise the page that says why nothing can be given.
    async fn wanted(&self, person: &SignedIn, query: &CredentialQuery) -> Result<Result<Wanted, Response>, Failure> {
        let goal = match self.goal(&query.server, &query.account) {
            Ok(goal) => goal,
            Err(answer) => return Ok(Err(answer)),
        };
        let personal = goal.upstream.personal().filter(|_| goal.upstream.standing == Standing::Allowed);
        let Some(personal) = personal else {
            let text = format!("{} takes no keys from people.", goal.upstream.name);
            let title = "There is nothing to give";
            return Ok(Err(message(StatusCode::NOT_FOUND, title, &text, Some("Connect it from the start page."))));
        };
        if !self.registry.permits(person.user.id, &goal.upstream.authority).await? {
            return Ok(Err(not_permitted(person, &goal)));
        }
        let key = ConnectionKey::upstream(person.user.id, goal.upstream.authority.clone(), goal.account.clone());
        Ok(Ok(Wanted { goal, key, personal }))
    }

    async fn credential_page(
        &self,
        person: &SignedIn,
        wanted: &Wanted,
        query: &CredentialQuery,
        error: Option<&str>,
    ) -> Result<Response, Failure> {
        let Wanted { goal, key, personal } = wanted;
        let (authority, account) = (goal.upstream.authority.as_str(), key.account.as_ref().map_or("", Account::as_str));
        let row = self.store.connection(person.user.id, authority, account).await?;
        // What the server did not accept is asked for again.
        let row = row.filter(|row| row.state == crate::store::ConnectionState::Active);
        let given = row.and_then(|row| row.personal).unwrap_or_default();
        let field = |name| CredentialField { name, given: given.split(' ').any(|known| known == name) };
        Ok(page::credential(&CredentialPage {
            status: if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK },
            account: rows::account(person),
            error: error.map(sentence).as_deref(),
            name: &goal.upstream.name,
            domain: matches!(goal.upstream.kind, Kind::Http { .. }).then_some(authority),
            account_name: account,
            environment: matches!(personal, Personal::Environment(_)),
            fields: personal.names().into_iter().map(field).collect(),
            action: &query.address(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_gives_nothing_goes_back_and_the_client_learns_it() {
        let query = |return_to: &str| CredentialQuery {
            server: "mcp.example".to_owned(),
            account: "work".to_owned(),
            return_to: return_to.to_owned(),
        };
        let client = query("/authorize/label?flow=x");
        assert_eq!(client.declined(), "/authorize/label?flow=x&cancel=denied");
        assert_eq!(query("/account").declined(), "/account");
        assert_eq!(query("//evil.example").declined(), "/");
        let address =
            "/upstreams/credentials?server=mcp.example&account=work&return_to=%2Fauthorize%2Flabel%3Fflow%3Dx";
        assert_eq!(client.address(), address);
    }
}
