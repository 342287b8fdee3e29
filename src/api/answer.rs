//! Answers that know how the document describes them.

use crate::administration::Page;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response as Described, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

/// 200 with this.
pub(super) struct Found<T>(pub(super) T);

/// 200 with part of a list.
pub(super) struct Listed<T>(pub(super) Page<T>);

/// 201 with this, and where it is from now on.
pub(super) struct Created<T> {
    pub(super) location: String,
    pub(super) body: T,
}

/// 204.
pub(super) struct Done;

impl<T: Serialize> IntoResponse for Found<T> {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

impl<T: Serialize> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::CREATED, Json(self.body)).into_response();
        if let Ok(location) = HeaderValue::try_from(self.location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl<T: ToSchema> IntoResponses for Found<T> {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        one("200", with::<T>("What was asked for."))
    }
}

impl<T: ToSchema> IntoResponses for Listed<T> {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let content = ContentBuilder::new().schema(Some(Page::<T>::schema())).build();
        one("200", ResponseBuilder::new().description("Part of the list.").content("application/json", content))
    }
}

impl<T: ToSchema> IntoResponses for Created<T> {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let location =
            HeaderBuilder::new().description(Some("The path of what was created.")).schema(Some(text())).build();
        one("201", with::<T>("It was created.").header("Location", location))
    }
}

impl IntoResponses for Done {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        one("204", ResponseBuilder::new().description("It is done."))
    }
}

fn with<T: ToSchema>(text: &str) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name()))).build();
    ResponseBuilder::new().description(text).content("application/json", content)
}

fn one(status: &str, response: ResponseBuilder) -> BTreeMap<String, RefOr<Described>> {
    BTreeMap::from([(status.to_owned(), response.build().into())])
}

fn text() -> Object {
    Object::with_type(Type::String)
}
