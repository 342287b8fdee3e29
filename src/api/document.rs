//! The OpenAPI document: what is said about all operations at once.

use super::activity::ActivityReport;
use super::problem::{self, Body};
use crate::administration::records::{
    ApiKey, AuditEvent, Client, Connection, CreatedApiKey, CreatedClient, Ended, FactorsReset, Grant, Group, Member,
    Service, ServiceConnection, ServicePat, Session, SignedOut, SigningKey, ToolRules, Upstream, User,
};
use crate::paths::API;
use bytes::Bytes;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::security::{
    ApiKey as Key, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Components, ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// Where it is.
pub(super) const PATH: &str = "/api/v1/openapi.json";

/// What the document says before any operation is known.
pub(super) fn preamble() -> OpenApi {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(BEARER)).build();
    let key = Key::Header(ApiKeyValue::with_description("X-API-Key", KEY));
    let session = Key::Cookie(ApiKeyValue::with_description("__Host-portcullis", SESSION));
    let components = ComponentsBuilder::new()
        .schema("Problem", Body::schema())
        .security_scheme("bearer", SecurityScheme::Http(bearer))
        .security_scheme("key", SecurityScheme::ApiKey(key))
        .security_scheme("session", SecurityScheme::ApiKey(session))
        .build();
    let nothing: [String; 0] = [];
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Portcullis admin API")
                .version("1.0.0")
                .description(Some(DESCRIPTION))
                .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
                .build(),
        )
        .components(Some(components))
        .security(Some(["bearer", "key", "session"].map(|name| SecurityRequirement::new(name, nothing.clone()))))
        .build()
}

const DESCRIPTION: &str =
    "What administrators of a gateway do. Lists come in pages: `next` of one is `after` of the next.";
const BEARER: &str =
    "An access token of the root issuer for the resource `/api/v1` with the scope `admin`, or an API key.";
const KEY: &str = "An API key with the scope `admin`.";
const SESSION: &str =
    "An administrator's session. Changes then need `X-CSRF-Token`, and come from a page of the gateway.";

/// Adds the schemas of answers, and the answers that follow from what an operation takes.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_default();
    describe::<User>(components);
    describe::<Client>(components);
    describe::<Grant>(components);
    describe::<Upstream>(components);
    describe::<Connection>(components);
    describe::<ApiKey>(components);
    describe::<SigningKey>(components);
    describe::<AuditEvent>(components);
    describe::<ActivityReport>(components);
    describe::<CreatedApiKey>(components);
    describe::<CreatedClient>(components);
    describe::<Ended>(components);
    describe::<Session>(components);
    describe::<SignedOut>(components);
    describe::<Service>(components);
    describe::<ServiceConnection>(components);
    describe::<ServicePat>(components);
    describe::<Member>(components);
    describe::<FactorsReset>(components);
    describe::<Group>(components);
    describe::<ToolRules>(components);
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            for (status, text) in answers_of(operation) {
                let responses = &mut operation.responses.responses;
                responses.entry(status.to_owned()).or_insert_with(|| problem::described(text).into());
            }
        }
    }
    document
}

/// A schema and those that it refers to.
fn describe<T: ToSchema>(components: &mut Components) {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    for (name, schema) in schemas {
        components.schemas.entry(name).or_insert(schema);
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// The document as it is served. Serializing it does not fail: it has text for keys.
pub(super) fn text(document: &OpenApi) -> Bytes {
    serde_json::to_vec(document).unwrap_or_default().into()
}

fn answers_of(operation: &Operation) -> Vec<(&'static str, &'static str)> {
    let mut answers = Vec::new();
    let takes = |place: ParameterIn| {
        operation.parameters.iter().flatten().any(|parameter| match parameter {
            RefOr::T(parameter) => parameter.parameter_in == place,
            RefOr::Ref(_) => false,
        })
    };
    if takes(ParameterIn::Path) {
        answers.push(("404", "There is no such thing."));
    }
    if takes(ParameterIn::Query) {
        answers.push(("400", "The query cannot be read."));
        answers.push(("422", "A value does not do; `detail` says which one and why."));
    }
    if operation.request_body.is_some() {
        answers.push(("400", "The body is not JSON."));
        answers.push(("408", "The body came too slowly."));
        answers.push(("413", "The body is too large."));
        answers.push(("415", "The body is not declared as `application/json`."));
        answers.push(("422", "A value does not do; `detail` says which one and why."));
    }
    answers
}

/// The path of one of our operations as it is requested.
pub(super) fn path(rest: &str) -> String {
    format!("{API}{rest}")
}
