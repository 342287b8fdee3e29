//! How an authorization server departs from the specifications: keys that `[[service]]`, `[[provider]]` and the tables of
//! both have.

use super::reader::Reader;
use super::units::positive_duration;
use super::upstream::header_name;
use crate::oauth::quirks::{Quirks, Revocation, TokenBody};
use crate::oauth::scope::Scopes;
use http::{HeaderName, HeaderValue};

/// All of them but `resource`, which the caller knows.
pub(super) fn read(reader: &mut Reader<'_>, takes_resource: bool) -> Quirks {
    let plain = Quirks::default();
    let authorize = reader.table("authorize").texts();
    let implied = reader.table("implied_scopes").texts();
    let headers = headers(reader);
    let mut text = |key| reader.parsed(key, some).map(|found| found.value);
    let (scope_parameter, token_member) = (text("scope_parameter"), text("token_member"));
    let (scope_separator, granted_scope_separator) = (text("scope_separator"), text("granted_scope_separator"));
    let method = reader.parsed("auth_method", |text| match text {
        "client_secret_basic" | "client_secret_post" => Ok(text.to_owned()),
        other => Err(format!("{other:?} is not known: write \"client_secret_basic\" or \"client_secret_post\"")),
    });
    let token_type = reader.parsed("token_type", |text| match text {
        "bearer" => Ok(true),
        "any" => Ok(false),
        other => Err(format!("{other:?} is not known: write \"bearer\" or \"any\"")),
    });
    let token_body = reader.parsed("token_body", |text| match text {
        "form" => Ok(TokenBody::Form),
        "json" => Ok(TokenBody::Json),
        other => Err(format!("{other:?} is not known: write \"form\" or \"json\"")),
    });
    let revocation = reader.parsed("revocation", |text| {
        let unknown =
            || format!("{text:?} is not known: write \"rfc7009\", \"json\", \"github\", \"token\" or \"bearer\"");
        Revocation::parse(text).ok_or_else(unknown)
    });
    let token_life = reader.parsed("token_life", positive_duration);
    let ended = reader.list("ended", some);
    Quirks {
        takes_resource,
        authorize,
        scope_parameter: scope_parameter.unwrap_or(plain.scope_parameter),
        scope_separator: scope_separator.unwrap_or(plain.scope_separator),
        granted_scope_separator,
        all_or_nothing: reader.flag("all_or_nothing").unwrap_or(plain.all_or_nothing),
        implied_scopes: implied.into_iter().map(|(scope, all)| (scope, Scopes::lenient(all.split(' ')))).collect(),
        pkce: reader.flag("pkce").unwrap_or(plain.pkce),
        token_member,
        token_life: token_life.map(|found| found.value),
        checks_token_type: token_type.is_none_or(|found| found.value),
        auth_method: method.map(|found| found.value),
        token_body: token_body.map_or(plain.token_body, |found| found.value),
        headers,
        ended: ended.map(|found| found.value).unwrap_or_default(),
        revocation: revocation.map_or(plain.revocation, |found| found.value),
    }
}

fn headers(reader: &mut Reader<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let table = reader.table("headers");
    let (errors, place, path) = (table.errors, table.place.clone(), reader.name("headers"));
    let mut headers = Vec::new();
    for (name, value) in table.texts() {
        match (header_name(&name), HeaderValue::from_str(&value)) {
            (Ok(name), Ok(value)) => headers.push((name, value)),
            (Err(why), _) => errors.add(&place, &path, why),
            (_, Err(_)) => errors.add(&place, &path, format!("{name} has a character that no header can carry")),
        }
    }
    headers
}

fn some(text: &str) -> Result<String, String> {
    let good = !text.is_empty() && !text.chars().any(char::is_control);
    good.then(|| text.to_owned()).ok_or_else(|| "must not be empty".to_owned())
}
