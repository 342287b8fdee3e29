//! `/programs`: clients, grants, API keys, services. What is secret is shown once, on the answer to the form that made it.

mod clients;
mod grants;
mod keys;
mod services;

use super::Dashboard;
use super::failure::Failure;
use crate::administration::{PageRequest, Refused};
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;

/// How many rows a page has.
const ROWS: u32 = 50;

/// `/programs` and below.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/programs", get(clients::show))
        .route("/programs/clients/new", get(clients::form).post(clients::create))
        .route("/programs/clients/delete", post(clients::delete))
        .route("/programs/grants", get(grants::show))
        .route("/programs/grants/revoke", post(grants::revoke))
        .route("/programs/keys", get(keys::show).post(keys::create))
        .route("/programs/keys/revoke", post(keys::revoke))
        .route("/programs/services", get(services::show))
        .route("/programs/services/{service}", get(services::one))
        .route("/programs/services/{service}/disconnect", post(services::disconnect))
        .route("/programs/services/{service}/pat", post(services::put_pat))
        .route("/programs/services/{service}/pat/remove", post(services::remove_pat))
}

/// A page of a list, from a cursor on; an empty one is the beginning.
fn page_after(after: &str) -> PageRequest {
    PageRequest { limit: Some(ROWS), after: Some(after.to_owned()).filter(|after| !after.is_empty()) }
}

/// An address with what is not empty of a query.
fn address(path: &str, query: &[(&str, &str)]) -> String {
    let mut given = query.iter().filter(|(_, value)| !value.is_empty()).peekable();
    if given.peek().is_none() {
        return path.to_owned();
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    format!("{path}?{query}")
}

/// The words of a field, separated by blanks or commas.
fn words(field: &str) -> Vec<String> {
    field.split([' ', ',', '\n', '\r', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// What the person who filled a form in can put right; everything else is no matter of the form.
fn told(refused: Refused) -> Result<String, Failure> {
    match refused {
        Refused::Invalid(why) | Refused::Conflict(why) | Refused::NotFound(why) => Ok(sentence(&why)),
        refused @ Refused::Failed(_) => Err(refused.into()),
    }
}

/// Errors begin with a small letter and end without a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_carry_what_is_given() {
        assert_eq!(address("/programs", &[("after", "")]), "/programs");
        assert_eq!(address("/x", &[("user", "a&b"), ("after", "c")]), "/x?user=a%26b&after=c");
    }

    #[test]
    fn words_and_sentences() {
        assert_eq!(words(" a, b\r\nc "), ["a", "b", "c"]);
        assert_eq!(sentence("there is no user x: the list shows all"), "There is no user x: the list shows all.");
    }
}
