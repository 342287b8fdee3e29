//! `certificates …`: what the listeners present. It looks into the database of this machine; a gateway that runs hears of it there.

use super::arguments::{CertificatesCommand, Remote};
use super::output::{Output, counted};
use super::{Failure, load};
use crate::app;
use crate::certificates::{self, Wanted};
use crate::clock::Clock;
use crate::config::{Config, Source, Tls};
use crate::error::Fault;
use crate::store::Store;
use crate::upstream::Registry;
use serde_json::json;

/// `portcullis certificates list|renew`
pub(super) async fn certificates(
    command: CertificatesCommand,
    remote: &Remote,
    source: &Source,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if remote.server.is_some() {
        let why = "certificates are looked after where the gateway runs: leave --server out, and run this there";
        return Err(Fault::caller(why).into());
    }
    let config = load(source)?;
    let store = Store::open_with(config.store.url.expose(), config.store.connections).await?;
    match command {
        CertificatesCommand::List => list(config, store, output).await,
        CertificatesCommand::Renew { name } => renew(&config, &store, name.as_deref(), output).await,
    }
}

/// What `portcullis check` tells: names that would be ordered, and what to think of before.
pub(super) fn announce(config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    let Tls::Acme(acme) = &config.tls else { return Ok(()) };
    let site = app::site_of(config, &config.server.listen);
    for Wanted { names, .. } in certificates::wanted_by(config, &site, acme) {
        let (names, challenge) = (names.join(" and "), acme.challenge.as_str());
        output.line(format_args!("certificate to order by {challenge} at {}: {names}", acme.directory))?;
    }
    if let Some(advice) = certificates::advice(config, acme) {
        output.line(format_args!("{advice}"))?;
    }
    Ok(())
}

async fn list(mut config: Config, store: Store, output: &mut Output<'_>) -> Result<(), Failure> {
    let site = app::site_of(&config, &config.server.listen);
    let configured = std::mem::take(&mut config.upstream);
    let registry = Registry::new(&config.upstreams, configured, site.clone(), store.clone()).await?;
    let rows = store.certificates().await?;
    let all = certificates::listed(&config.tls, &site, &registry, &rows, Clock::system().now())?;
    let rows = all.into_iter().map(|one| {
        [
            json!(one.names),
            json!(one.kind.as_str()),
            json!(one.state.as_str()),
            json!(one.not_after.map(|end| end.to_rfc3339())),
            json!(one.last_error),
        ]
    });
    Ok(output.listing(["names", "kind", "state", "not_after", "last_error"], rows.collect())?)
}

async fn renew(config: &Config, store: &Store, name: Option<&str>, output: &mut Output<'_>) -> Result<(), Failure> {
    if !matches!(config.tls, Tls::Acme(_)) {
        return Err(Fault::caller("certificates are renewed only with tls.mode = \"acme\"").into());
    }
    let due = store.renew_certificates(name).await?;
    if due == 0 {
        let which = name.map_or_else(String::new, |name| format!(" for {name}"));
        let why = format!("there is no certificate{which}: `portcullis certificates list` shows all");
        return Err(Fault::caller(why).into());
    }
    let due = counted(usize::try_from(due).unwrap_or(usize::MAX), "certificate");
    Ok(output.line(format_args!("{due} will be ordered by the gateway that runs, or when it is started"))?)
}
