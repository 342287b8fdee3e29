//! `[telemetry]`

use super::Telemetry;
use super::document::{Node, Value};
use super::reader::Reader;
use super::secrets::{self, Directories};
use crate::secret::Secret;
use http::{HeaderName, HeaderValue};
use std::fmt;
use url::Url;

/// Where traces go: `telemetry.otlp_*`.
#[derive(Clone)]
pub struct Otlp {
    /// The URL that spans are posted to, `…/v1/traces`.
    pub endpoint: Url,
    /// What the collector wants to see with each request; values are secret.
    pub headers: Vec<(HeaderName, Secret)>,
    /// Which share of the traces that begin here is exported, from 0 to 1.
    pub sample: f64,
    /// `service.name` of the resource.
    pub service_name: String,
}

impl PartialEq for Otlp {
    fn eq(&self, other: &Self) -> bool {
        let same = |((a, x), (b, y)): (&(HeaderName, Secret), &(HeaderName, Secret))| a == b && x.matches(y.expose());
        let headers = self.headers.len() == other.headers.len() && self.headers.iter().zip(&other.headers).all(same);
        let rest = |otlp: &Self| (otlp.endpoint.clone(), otlp.sample.to_bits(), otlp.service_name.clone());
        headers && rest(self) == rest(other)
    }
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Otlp({}, {})", self.endpoint, self.sample)
    }
}

pub(super) fn read(mut reader: Reader<'_>, directories: &Directories) -> Telemetry {
    let json = reader.parsed("log_format", |text| match text {
        "text" => Ok(false),
        "json" => Ok(true),
        other => Err(format!("{other:?} is not a format: write \"text\" or \"json\"")),
    });
    let level = reader.parsed("level", crate::telemetry::check_level);
    let otlp = otlp(&mut reader, directories);
    reader.finish();
    Telemetry {
        json: json.is_some_and(|found| found.value),
        level: level.map_or_else(|| "info".to_owned(), |found| found.value),
        otlp,
    }
}

fn otlp(reader: &mut Reader<'_>, directories: &Directories) -> Option<Otlp> {
    let endpoint = reader.parsed("otlp_endpoint", |text| match text {
        "" => Ok(None),
        text => endpoint(text).map(Some),
    });
    let keys = ("otlp_headers", "otlp_headers_file");
    let headers = secrets::take(reader, keys, "telemetry.otlp_headers", directories);
    let headers = headers.and_then(|found| match headers_of(&found.value) {
        Some(headers) => Some(headers),
        None => {
            // The text is a secret.
            reader.error(&found.place, "otlp_headers", "is not a list of fields: write \"name=value,name=value\"");
            None
        }
    });
    let sample = share(reader, "otlp_sample").unwrap_or(1.0);
    let service_name = reader.parsed("service_name", |text| match text.trim() {
        "" => Err("must not be empty: give a name, or remove the key".to_owned()),
        text => Ok(text.to_owned()),
    });
    Some(Otlp {
        endpoint: endpoint?.value?,
        headers: headers.unwrap_or_default(),
        sample,
        service_name: service_name.map_or_else(|| "portcullis".to_owned(), |found| found.value),
    })
}

/// The endpoint as OTLP's environment variables have it: traces go to a path below it (OTLP exporter, Endpoint URLs).
fn endpoint(text: &str) -> Result<Url, String> {
    const FIX: &str = "write the URL of a collector, such as \"http://127.0.0.1:4318\"";
    let mut url = Url::parse(text).map_err(|_| format!("{text:?} is not a URL: {FIX}"))?;
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !is_http || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{text:?} is not the URL of a collector of OTLP over HTTP: {FIX}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a secret does not belong into a URL: use otlp_headers_file".to_owned());
    }
    if !url.path().ends_with("/v1/traces") {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(url)
}

/// `name=value,name=value`, as `OTEL_EXPORTER_OTLP_HEADERS` has it.
fn headers_of(text: &Secret) -> Option<Vec<(HeaderName, Secret)>> {
    let field = |field: &str| {
        let (name, value) = field.split_once('=')?;
        let (name, value) = (HeaderName::try_from(name.trim()).ok()?, value.trim());
        HeaderValue::from_str(value).ok()?;
        Some((name, Secret::new(value.to_owned())))
    };
    text.expose().split(',').map(str::trim).filter(|text| !text.is_empty()).map(field).collect()
}

/// Takes a number from 0 to 1.
fn share(reader: &mut Reader<'_>, key: &'static str) -> Option<f64> {
    let Node { value, place } = reader.take(key)?;
    let number = match value {
        Value::Fraction(number) => Some(number),
        Value::Integer(0) => Some(0.0),
        Value::Integer(1) => Some(1.0),
        Value::Untyped(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number.filter(|number| (0.0..=1.0).contains(number));
    if number.is_none() {
        reader.error(&place, key, "must be a number from 0 to 1 without quotes, such as 0.1");
    }
    number
}
