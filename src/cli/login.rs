//! `login`, `token` and `logout`: a command line is a device without a browser (RFC 8628).

use super::Failure;
use super::credentials::{self, Credentials, Entry, Issued, Registration, Server};
use super::discovery::{Found, discover};
use super::output::Output;
use super::remote::{Answer, Refusal, Remote};
use crate::error::Fault;
use crate::oauth::grant_type::GrantType;
use crate::secret::Secret;
use http::{Method, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// Where the system tells its name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// A device authorization response (RFC 8628 §3.2).
#[derive(Deserialize)]
struct Device {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    #[serde(default = "five")]
    interval: u64,
}

/// A client information response (RFC 7591 §3.2.1).
#[derive(Deserialize)]
struct Registered {
    client_id: String,
    registration_client_uri: Option<String>,
    registration_access_token: Option<String>,
}

/// Who this machine is at an authorization server.
struct Client {
    id: String,
    registration: Option<Registration>,
}

/// `portcullis login URL`
pub(super) async fn login(
    environment: &BTreeMap<String, String>,
    url: &str,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let (server, remote) = (Server::parse(url)?, Remote::new()?);
    let earlier = Credentials::of(environment)?.find(&server)?;
    let found = discover(&remote, &server).await?;
    let (client, device) = begin(&remote, &found, earlier.as_ref()).await?;
    // Listened for before the person is told of it.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Fault::gateway)?;
    tell(&device, output)?;
    let issued = tokio::select! {
        issued = wait(&remote, &found, &client, &device) => issued?,
        _ = interrupt.recv() => return Err(Fault::caller("interrupted: nothing was kept").into()),
    };
    let mut entry = Entry {
        resource: found.resource,
        client_id: client.id,
        token_endpoint: found.token_endpoint,
        revocation_endpoint: found.revocation_endpoint,
        registration: client.registration,
        access_token: Secret::new(String::new()),
        expires_at: 0,
        refresh_token: None,
    };
    entry.take(issued);
    Credentials::of(environment)?.lock().await?.put(&server, entry)?;
    if let Some(earlier) = earlier {
        // Nobody has these any more. If it fails, they expire.
        let _ = revoke(&remote, &earlier).await;
    }
    let address = &server.address;
    if output.json {
        return Ok(output.line(format_args!("{}", json!({ "server": address, "logged_in": true })))?);
    }
    output.line(format_args!("Logged in at {address}."))?;
    match server.is_gateway {
        true => output.line(format_args!("Commands with `--server {address}` work now."))?,
        false => {
            output.line(format_args!("Use it like this:"))?;
            output
                .line(format_args!("  curl -H \"Authorization: Bearer $(portcullis token {address})\" {address} …"))?;
        }
    }
    Ok(())
}

/// `portcullis token URL`
pub(super) async fn token(
    environment: &BTreeMap<String, String>,
    url: &str,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let token = credentials::access_token(environment, url).await?;
    Ok(output.line(format_args!("{}", token.expose()))?)
}

/// `portcullis logout URL`
pub(super) async fn logout(
    environment: &BTreeMap<String, String>,
    url: &str,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let (server, remote) = (Server::parse(url)?, Remote::new()?);
    let locked = Credentials::of(environment)?.lock().await?;
    let entry = locked.entry(&server)?;
    revoke(&remote, &entry).await?;
    if let Some(registration) = &entry.registration {
        let bearer = zeroize::Zeroizing::new(format!("Bearer {}", registration.token.expose()));
        let headers = [(header::AUTHORIZATION, bearer.as_str())];
        remote.send(Method::DELETE, &registration.uri, &headers, String::new()).await?;
    }
    locked.forget(&server)?;
    Ok(output.line(format_args!("Logged out at {}.", server.address))?)
}

/// A registration, the one from last time if it still serves, and codes for it.
async fn begin(remote: &Remote, found: &Found, earlier: Option<&Entry>) -> Result<(Client, Device), Fault> {
    if let Some(entry) = earlier.filter(|entry| entry.token_endpoint == found.token_endpoint) {
        let client = Client { id: entry.client_id.clone(), registration: entry.registration.clone() };
        // Whatever is wrong with it: a new one is as good.
        if let Answer::Good(device) = ask(remote, found, &client.id).await? {
            return Ok((client, device));
        }
    }
    let client = register(remote, &found.registration_endpoint).await?;
    match ask(remote, found, &client.id).await? {
        Answer::Good(device) => Ok((client, device)),
        Answer::Refused(why) => Err(Fault::caller(format!("the server gives no code: {why}"))),
    }
}

async fn register(remote: &Remote, endpoint: &str) -> Result<Client, Fault> {
    let host = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
    let metadata = json!({
        "client_name": format!("Portcullis command line {}", host.trim()).trim(),
        "grant_types": [GrantType::DeviceCode.as_str(), GrantType::RefreshToken.as_str()],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    });
    match remote.json::<Registered>(endpoint, metadata.to_string()).await? {
        Answer::Good(Registered { client_id: id, registration_client_uri, registration_access_token }) => {
            let registration = registration_client_uri.zip(registration_access_token);
            Ok(Client {
                id,
                registration: registration.map(|(uri, token)| Registration { uri, token: Secret::new(token) }),
            })
        }
        Answer::Refused(why) => {
            let how = "an administrator may have to open registration (`registration.mode`)";
            Err(Fault::caller(format!("{endpoint} does not register this command line: {why}; {how}")))
        }
    }
}

async fn ask(remote: &Remote, found: &Found, client_id: &str) -> Result<Answer<Device>, Fault> {
    let mut form = vec![("client_id", client_id), ("resource", found.resource.as_str())];
    form.extend(Some(("scope", found.scope.as_str())).filter(|(_, scope)| !scope.is_empty()));
    remote.form(&found.device_authorization_endpoint, &form).await
}

/// Says where to go. A server wrote these texts, so nothing in them reaches the terminal but what can be seen.
fn tell(device: &Device, output: &mut Output<'_>) -> Result<(), Failure> {
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).take(500).collect::<String>();
    let (uri, code) = (plain(&device.verification_uri), plain(&device.user_code));
    let complete = device.verification_uri_complete.as_deref().map(plain);
    if output.json {
        let told = json!({ "verification_uri": uri, "user_code": code, "verification_uri_complete": complete });
        return Ok(output.line(format_args!("{told}"))?);
    }
    output.line(format_args!("Open {uri} in any browser and type the code"))?;
    output.line(format_args!("\n    {code}\n"))?;
    if let Some(complete) = complete {
        output.line(format_args!("or open {complete} and compare the code."))?;
    }
    Ok(output.line(format_args!("Waiting for your approval; Ctrl-C gives up."))?)
}

/// Asks as often as it may until the person has decided (RFC 8628 §3.4, §3.5).
async fn wait(remote: &Remote, found: &Found, client: &Client, device: &Device) -> Result<Issued, Fault> {
    let deadline = Instant::now() + Duration::from_secs(device.expires_in.min(24 * 3600));
    let mut interval = Duration::from_secs(device.interval.clamp(1, 600));
    let form = [
        ("grant_type", GrantType::DeviceCode.as_str()),
        ("client_id", &client.id),
        ("device_code", &device.device_code),
    ];
    while Instant::now() + interval < deadline {
        tokio::time::sleep(interval).await;
        match remote.form(&found.token_endpoint, &form).await {
            Ok(Answer::Good(issued)) => return Ok(issued),
            Ok(Answer::Refused(why)) => match why.error.as_str() {
                "authorization_pending" => {}
                "slow_down" => interval += Duration::from_secs(5),
                _ => return Err(refused(&why)),
            },
            // The network, or a server that restarts: asked less and less often.
            Err(fault) => {
                tracing::warn!(%fault, "asking again");
                interval *= 2;
            }
        }
    }
    Err(Fault::caller("nobody approved in time: run the command again"))
}

fn refused(why: &Refusal) -> Fault {
    Fault::caller(match why.error.as_str() {
        "access_denied" => "access was denied".to_owned(),
        "expired_token" => "nobody approved in time: run the command again".to_owned(),
        _ => format!("the server gives no token: {why}"),
    })
}

/// Revokes what was issued; that a server knows nothing of it is as good.
async fn revoke(remote: &Remote, entry: &Entry) -> Result<(), Fault> {
    let Some(endpoint) = &entry.revocation_endpoint else { return Ok(()) };
    let token = entry.refresh_token.as_ref().unwrap_or(&entry.access_token);
    let form = [("client_id", entry.client_id.as_str()), ("token", token.expose())];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let kind = [(header::CONTENT_TYPE, "application/x-www-form-urlencoded")];
    let answer = remote.send(Method::POST, endpoint, &kind, body).await?;
    match answer.status {
        status if status.is_success() || status == StatusCode::UNAUTHORIZED => Ok(()),
        status => Err(Fault::caller(format!("{endpoint} did not revoke the token (status {status}): try again"))),
    }
}

fn five() -> u64 {
    5
}
