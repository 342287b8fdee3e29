//! What there is to know about certificates: for the dashboard, the command line and the metrics.

use super::{Certificates, Wanted, renewal};
use crate::clock::Timestamp;
use crate::store::StoredCertificate;
use crate::tls::Certificate;
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
    /// How it stands.
    pub state: State,
    /// Why the last order failed, if it did.
    pub last_error: Option<String>,
}

impl CertificateStatus {
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
            state: state(validity, None, now),
            last_error: None,
        }
    }

    /// Of a certificate that there should be, and the row of it that there is.
    pub fn of_row(
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
            state: validity.map_or(State::Missing, |validity| state(validity, renew_before, now)),
            last_error: row.and_then(|row| row.last_error.clone()),
        }
    }
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
        const NAME: &str = "portcullis_certificate_expiry_timestamp_seconds";
        let mut family = encoder.encode_descriptor(NAME, "When certificates end", None, MetricType::Gauge)?;
        for status in self.0.status() {
            let (Some(name), Some(end)) = (status.names.into_iter().next(), status.not_after) else { continue };
            ConstGauge::new(end.seconds()).encode(family.encode_family(&[("name", name)])?)?;
        }
        Ok(())
    }
}
