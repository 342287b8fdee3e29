//! What there is to know about certificates: for the dashboard, the command line and the metrics.

use super::{Certificates, Wanted, renewal, wanted};
use crate::clock::Timestamp;
use crate::config::Tls;
use crate::error::Fault;
use crate::hostname::Site;
use crate::store::StoredCertificate;
use crate::tls::Certificate;
use crate::upstream::Registry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Two files, which somebody else renews.
    Files,
    /// An authority, from which it is ordered.
    Acme,
}

impl Kind {
    /// As `tls.mode` calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Acme => "acme",
        }
    }
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Good.
    Valid,
    /// Good, but most of the time in which it should have been renewed is over.
    Expiring,
    /// Not good any more.
    Expired,
    /// There is none yet.
    Missing,
}

impl State {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Missing => "missing",
        }
    }
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateStatus {
    /// What it is for, the most important name first.
    pub names: Vec<String>,
    /// Where it comes from.
    pub kind: Kind,
    /// When it ends.
    pub not_after: Option<Timestamp>,
    /// When the next one is to be ordered.
    pub renew_at: Option<Timestamp>,
    /// How it stands.
    pub state: State,
    /// Why the last order failed, if it did.
    pub last_error: Option<String>,
}

impl CertificateStatus {
    /// In a sentence, for somebody who should do something about it.
    pub fn alert(&self) -> String {
        let name = self.names.first().map_or("the listeners", String::as_str);
        let stands = match (self.state, self.not_after) {
            (State::Expired, Some(end)) => format!("has expired ({})", end.to_rfc3339()),
            (State::Valid | State::Expiring, Some(end)) => format!("expires {}", end.to_rfc3339()),
            _ => "is missing".to_owned(),
        };
        match &self.last_error {
            Some(error) => format!("The certificate for {name} {stands}; the last order failed: {error}"),
            None => format!("The certificate for {name} {stands}."),
        }
    }

    /// Whether somebody should look at it.
    pub fn needs_attention(&self) -> bool {
        self.last_error.is_some() || matches!(self.state, State::Expiring | State::Expired)
    }

    pub(super) fn of_files(certificate: &Certificate, now: Timestamp) -> Self {
        let validity = certificate.validity();
        Self {
            names: certificate.names().to_vec(),
            kind: Kind::Files,
            not_after: Some(validity.1),
            renew_at: None,
            state: state(validity, None, now),
            last_error: None,
        }
    }

    /// Of a certificate that there should be, and the row of it that there is.
    pub(super) fn of_row(
        wanted: &Wanted,
        row: Option<&StoredCertificate>,
        renew_before: Option<Duration>,
        now: Timestamp,
    ) -> Self {
        let validity = row.and_then(|row| Some((row.not_before?, row.not_after?)));
        Self {
            names: wanted.names.clone(),
            kind: Kind::Acme,
            not_after: validity.map(|validity| validity.1),
            renew_at: row.map(|row| row.renew_at),
            state: validity.map_or(State::Missing, |validity| state(validity, renew_before, now)),
            last_error: row.and_then(|row| row.last_error.clone()),
        }
    }
}

/// The same as [`Certificates::status`] for somebody who looks from outside, with the rows of the database.
///
/// # Errors
/// When a file cannot be read.
pub fn listed(
    tls: &Tls,
    site: &Site,
    registry: &Registry,
    rows: &[StoredCertificate],
    now: Timestamp,
) -> Result<Vec<CertificateStatus>, Fault> {
    Ok(match tls {
        Tls::Off => Vec::new(),
        Tls::Files { cert, key } => vec![CertificateStatus::of_files(&Certificate::read(cert, key)?, now)],
        Tls::Acme(acme) => {
            let row = |wanted: &Wanted| rows.iter().find(|row| row.name == wanted.name);
            let wanted = wanted(site, registry, &acme.challenge);
            let of = |wanted: &Wanted| CertificateStatus::of_row(wanted, row(wanted), acme.renew_before, now);
            wanted.iter().map(of).collect()
        }
    })
}

fn state(validity: (Timestamp, Timestamp), renew_before: Option<Duration>, now: Timestamp) -> State {
    let left = validity.1.since(now);
    if left.is_zero() {
        State::Expired
    } else if left < renewal::window(validity, renew_before) / 3 {
        State::Expiring
    } else {
        State::Valid
    }
}

/// `portcullis_certificate_expiry_timestamp_seconds`, computed whenever somebody asks.
pub struct Expiries(pub Arc<Certificates>);

impl fmt::Debug for Expiries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expiries")
    }
}

impl Collector for Expiries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        const NAME: &str = "certificate_expiry_timestamp_seconds";
        let mut family = encoder.encode_descriptor(NAME, "When certificates end", None, MetricType::Gauge)?;
        for status in self.0.status() {
            let (Some(name), Some(end)) = (status.names.into_iter().next(), status.not_after) else { continue };
            ConstGauge::new(end.seconds()).encode(family.encode_family(&[("name", name)])?)?;
        }
        Ok(())
    }
}
