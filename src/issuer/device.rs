//! Devices without a browser (RFC 8628): the endpoint that gives them codes, and the page on which a person types one. From
//! there on it is the same flow as for any other client.

use super::authorize::{place_of, stepped_up};
use super::clients::KnownClient;
use super::metadata::authorize_path;
use super::parameters::Parameters;
use super::pending::PendingAuthorization;
use super::reply::{self, Refused};
use super::token::form;
use super::{Issuer, pages, resource, steps};
use crate::error::Fault;
use crate::hostname::Realm;
use crate::ids::Digest;
use crate::oauth::error::Code;
use crate::oauth::grant_type::GrantType;
use crate::oauth::user_code::UserCode;
use crate::request::Arrival;
use crate::session::SignedIn;
use crate::store::{DeviceCode, DeviceState, StoreError};
use axum::Extension;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// From the device's request to its tokens.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// Seconds between two questions of a device, to begin with.
const INTERVAL: i64 = 5;

/// So many wrong codes within [`LOCK_OUT`] of the first, and a person has to wait until that is over.
const WRONG_CODES: i64 = 10;
const LOCK_OUT: Duration = Duration::from_secs(15 * 60);

/// How often a user code is drawn before we give up; two waiting devices hardly ever draw the same.
const DRAWS: usize = 4;

/// `POST /device_authorization` (RFC 8628 §3.1, §3.2)
pub(super) async fn authorization(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let (form, realm) = (form(&headers, body)?, &arrival.realm);
    let client = issuer.authenticate(realm, &headers, &form).await?;
    if !client.metadata.allows(GrantType::DeviceCode) {
        let description = "the client is not registered for urn:ietf:params:oauth:grant-type:device_code";
        return Err(Refused::because(Code::UnauthorizedClient, description));
    }
    let origin = issuer.site.issuer(realm);
    let place = place_of(&issuer, realm.clone())
        .ok_or_else(|| Refused::because(Code::InvalidTarget, "there is no such server here"))?;
    let default = resource::default(&origin, place.upstream.as_deref());
    let asked = resource::asked(&form, (realm, &origin), default)?;
    let (device_code, user_code) = codes(&issuer, realm, &client, asked).await?;
    let verification_uri = format!("{}/device", issuer.site.root_origin());
    let answer = json!({
        "device_code": device_code,
        "user_code": user_code.to_string(),
        "verification_uri_complete": format!("{verification_uri}?user_code={user_code}"),
        "verification_uri": verification_uri,
        "expires_in": LIFE.as_secs(),
        "interval": INTERVAL,
    });
    Ok(reply::json(StatusCode::OK, &answer))
}

/// `GET /device`: a form. A link fills it in and never does more (RFC 8628 §3.3.1, §5.4).
pub(super) async fn page(
    State(issuer): State<Arc<Issuer>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, pages::FaultPage> {
    let parameters = Parameters::parse(query.unwrap_or_default().as_bytes());
    let code = parameters.get("user_code").and_then(UserCode::parse).map(|code| code.to_string()).unwrap_or_default();
    let Some(signed_in) = issuer.sessions.find(&headers).await? else {
        let query = if code.is_empty() { String::new() } else { format!("?user_code={code}") };
        return Ok(steps::to_login(&format!("/device{query}")));
    };
    Ok(pages::device(&signed_in, &code, None))
}

/// `POST /device`: the code makes the device this person's, and the steps of every sign-in follow.
pub(super) async fn claim(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, pages::FaultPage> {
    let Some(signed_in) = issuer.sessions.find(&headers).await? else { return Ok(steps::to_login("/device")) };
    let form = Parameters::parse(&body);
    if crate::csrf::check(&issuer.site, &headers, &signed_in.csrf_token, form.get("csrf_token")).is_err() {
        return Ok(pages::forged("/device"));
    }
    let (user, now) = (&signed_in.user, issuer.clock.now());
    if let Err(limited) = issuer.limits.check_user_code(arrival.client, &signed_in.session) {
        return Ok(pages::too_many_codes(limited));
    }
    let wrong = issuer.store.wrong_user_codes(user.id, now, LOCK_OUT).await.map_err(Fault::from)?;
    if wrong >= WRONG_CODES {
        return Ok(pages::locked_out());
    }
    let typed = form.get("user_code").unwrap_or_default();
    let Some(user_code) = UserCode::parse(typed) else {
        return Ok(pages::device(&signed_in, typed, Some("A code has eight letters, such as WDJB-MJHT.")));
    };
    let claimed = issuer.store.claim_device_code(&user_code.digest(), user.id, now).await.map_err(Fault::from)?;
    let Some(device) = claimed else {
        issuer.store.count_wrong_user_code(user.id, now, LOCK_OUT).await.map_err(Fault::from)?;
        issuer.audit.record(&user.name, "device.code_refused", "user code", Some(arrival.client));
        return Ok(pages::device(&signed_in, typed, Some("No device waits with this code. Is it still shown there?")));
    };
    Ok(begin(&issuer, &signed_in, device, &user_code).await?)
}

/// From here on everything is as if the client had sent the browser.
async fn begin(
    issuer: &Issuer,
    signed_in: &SignedIn,
    device: DeviceCode,
    user_code: &UserCode,
) -> Result<Response, Fault> {
    let Some(place) = Realm::from_key(&device.realm).and_then(|realm| place_of(issuer, realm)) else {
        return Ok(pages::no_such_server());
    };
    let client = match issuer.client(&place.realm, &device.client_id).await {
        Ok(client) => client,
        Err(why) => return Ok(pages::no_client(&why)),
    };
    let pending = PendingAuthorization::of_device(device, user_code, &client);
    let pending = stepped_up(issuer, &place, pending, signed_in).await?;
    let flow = pending.keep(issuer, signed_in).await?;
    Ok(steps::answer(&format!("{}?flow={flow}", authorize_path(&place.realm))))
}

/// Both codes of a new request.
async fn codes(
    issuer: &Issuer,
    realm: &Realm,
    client: &KnownClient,
    asked: resource::Asked,
) -> Result<(String, UserCode), Refused> {
    let device_code = issuer.random.token().to_string();
    let mut user_code = UserCode::random(&issuer.random);
    let mut row = DeviceCode {
        code: Digest::of(&device_code),
        user_code: user_code.digest(),
        realm: realm.key(),
        client_id: client.id.clone(),
        resource: asked.resource,
        scope: asked.scope,
        expires_at: issuer.clock.now().after(LIFE),
        interval: INTERVAL,
        polled_at: None,
        claimed_by: None,
        state: DeviceState::Waiting,
        grant: None,
    };
    for _ in 0..DRAWS {
        match issuer.store.insert_device_code(&row).await {
            Err(StoreError::Conflict(_)) => {
                user_code = UserCode::random(&issuer.random);
                row.user_code = user_code.digest();
            }
            inserted => return Ok(inserted.map(|()| (device_code, user_code))?),
        }
    }
    Err(Fault::gateway("no user code is free").into())
}
