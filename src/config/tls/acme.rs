//! `[tls.acme]`

use super::super::document::Place;
use super::super::reader::{Found, Reader};
use super::super::secrets::{self, Directories};
use super::super::units;
use super::{Acme, Challenge, ExternalAccount, Records, Rfc2136, TsigAlgorithm};
use crate::secret::Secret;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use url::Url;

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
/// The name of a credential.
const TSIG_KEY: &str = "tls.acme.rfc2136.key";

/// `[tls.acme]`
pub(super) fn section(mut reader: Reader<'_>, domain: &Found<String>, directories: &Directories) -> Acme {
    let directory = reader.parsed("directory", directory).map_or_else(|| LETS_ENCRYPT.to_owned(), |found| found.value);
    let acme = Acme {
        email: reader.parsed("email", email).map(|found| found.value),
        directory,
        challenge: challenge(&mut reader, domain, directories),
        external_account: external_account(&mut reader, directories),
        ca_file: secrets::path(&mut reader, "ca_file", directories).map(|found| found.value),
        renew_before: reader.parsed("renew_before", units::positive_duration).map(|found| found.value),
    };
    reader.finish();
    acme
}

fn challenge(reader: &mut Reader<'_>, domain: &Found<String>, directories: &Directories) -> Challenge {
    let word = reader.parsed("challenge", |text| match text {
        "http-01" | "tls-alpn-01" | "dns-01" => Ok(text.to_owned()),
        other => Err(format!("{other:?} is not a challenge: write \"http-01\", \"tls-alpn-01\" or \"dns-01\"")),
    });
    let has_update = reader.has("rfc2136");
    let update = reader.table("rfc2136");
    let hook_place = reader.has_some("hook");
    let hook = reader.list("hook", |text| Ok(text.to_owned()));
    let update = has_update.then(|| rfc2136(update, &domain.value, directories)).flatten();
    let hook = hook.filter(|_| hook_place).and_then(|found| hook_command(reader, found));
    match word.as_ref().map(|word| word.value.as_str()) {
        Some("tls-alpn-01") => Challenge::TlsAlpn01,
        Some("dns-01") => {
            let place = word.map_or(Place::Nowhere, |word| word.place);
            match (update, hook, has_update, hook_place) {
                (Some(update), None, _, false) => return Challenge::Dns01(Records::Update(update)),
                (None, Some(hook), false, _) => return Challenge::Dns01(Records::Hook(hook)),
                (.., true, true) => {
                    reader.error(&place, "challenge", "has two ways to the DNS: keep either tls.acme.rfc2136 or hook");
                }
                (.., false, false) => {
                    let why = "\"dns-01\" needs a way to the DNS: [tls.acme.rfc2136] for dynamic updates, or hook = \
                               [\"/path/to/program\"]";
                    reader.error(&place, "challenge", why);
                }
                // What is wrong with it was said.
                _ => {}
            }
            Challenge::Http01
        }
        _ => Challenge::Http01,
    }
}

fn hook_command(reader: &Reader<'_>, found: Found<Vec<String>>) -> Option<Vec<String>> {
    let Found { value: command, place } = found;
    let program = command.first().map(Path::new)?;
    if !program.is_absolute() {
        reader.error(
            &place,
            "hook",
            "must begin with the absolute path of a program, like \"/usr/local/bin/dns-hook\"",
        );
        return None;
    }
    if !program.is_file() {
        let why = format!("there is no program {}: create it or correct the path", program.display());
        reader.error(&place, "hook", why);
        return None;
    }
    Some(command)
}

/// All of it or nothing.
fn rfc2136(mut reader: Reader<'_>, domain: &str, directories: &Directories) -> Option<Rfc2136> {
    let place = reader.place.clone();
    let keys = [&["server"][..], &["zone"], &["key_name"], &["key", "key_file"]];
    let given = keys.iter().filter(|names| names.iter().any(|name| reader.has(name))).count();
    let given = given
        + usize::from(!reader.has("key") && !reader.has("key_file") && directories.credential(TSIG_KEY).is_some());
    let server = reader.parsed("server", name_server);
    let zone = reader.parsed("zone", |text| {
        let zone = dns_name(text)?;
        let is_in = domain.strip_suffix(&zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if is_in { Ok(zone) } else { Err(format!("{domain} is not in {zone}: name the zone that it is in")) }
    });
    let key_name = reader.parsed("key_name", dns_name);
    let algorithm = reader.parsed("key_algorithm", |text| match text.to_ascii_lowercase().as_str() {
        "hmac-sha256" => Ok(TsigAlgorithm::HmacSha256),
        "hmac-sha384" => Ok(TsigAlgorithm::HmacSha384),
        "hmac-sha512" => Ok(TsigAlgorithm::HmacSha512),
        _ => Err(format!("{text:?} is not supported: write \"hmac-sha256\", \"hmac-sha384\" or \"hmac-sha512\"")),
    });
    let key = secrets::take(&mut reader, ("key", "key_file"), TSIG_KEY, directories);
    let key = key.and_then(|found| match BASE64.decode(found.value.expose().as_bytes()) {
        Ok(bytes) if !bytes.is_empty() => Some(found.value),
        _ => {
            reader.error(&found.place, "key", "is not base64: copy the secret of the TSIG key as its server has it");
            None
        }
    });
    let update = match (server, zone, key_name, key) {
        (Some(server), Some(zone), Some(key_name), Some(key)) => Some(Rfc2136 {
            server: server.value,
            zone: zone.value,
            key_name: key_name.value,
            algorithm: algorithm.map_or(TsigAlgorithm::HmacSha256, |found| found.value),
            key,
        }),
        // What is wrong with a key that is there was said.
        _ if given == 4 => None,
        _ => {
            let why = "tls.acme.rfc2136 needs all of server, zone, key_name and key_file";
            reader.error(&place, "server", why);
            None
        }
    };
    reader.finish();
    update
}

fn external_account(reader: &mut Reader<'_>, directories: &Directories) -> Option<ExternalAccount> {
    let key_id = reader.text("eab_key_id").filter(|found| !found.value.is_empty());
    let key = secrets::take(reader, ("eab_hmac_key", "eab_hmac_key_file"), "tls.acme.eab_hmac_key", directories);
    match (key_id, key) {
        (None, None) => None,
        (Some(key_id), Some(key)) => {
            let text = key.value.expose().trim_end_matches('=');
            if BASE64URL_NOPAD.decode(text.as_bytes()).is_ok_and(|bytes| !bytes.is_empty()) {
                return Some(ExternalAccount { key_id: key_id.value, hmac_key: Secret::new(text.to_owned()) });
            }
            reader.error(&key.place, "eab_hmac_key", "is not base64url: copy the HMAC key as the authority shows it");
            None
        }
        (Some(found), None) => {
            reader.error(&found.place, "eab_key_id", "needs the key that belongs to it, in eab_hmac_key_file");
            None
        }
        (None, Some(found)) => {
            reader.error(&found.place, "eab_hmac_key", "needs the name that belongs to it, in eab_key_id");
            None
        }
    }
}

fn directory(text: &str) -> Result<String, String> {
    match text {
        "letsencrypt" => return Ok(LETS_ENCRYPT.to_owned()),
        "letsencrypt-staging" => return Ok(LETS_ENCRYPT_STAGING.to_owned()),
        _ => {}
    }
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.username().is_empty());
    url.map(String::from).ok_or_else(|| {
        format!(
            "{text:?} is not the https URL of an ACME directory: write \"letsencrypt\", \"letsencrypt-staging\", or the \
             URL that your authority names"
        )
    })
}

fn email(text: &str) -> Result<String, String> {
    let good = |(local, host): (&str, &str)| !local.is_empty() && host.contains('.');
    let plain = text.chars().all(|c| c.is_ascii_graphic() && !"<>,;:\"?&%".contains(c));
    match text.split_once('@').is_some_and(good) && plain {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not an e-mail address: write it like \"admin@example.com\"")),
    }
}

/// Addresses only: the DNS may be what is being changed.
fn name_server(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let address = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
    text.parse().or_else(|_| address()).map_err(|_| {
        format!("{text:?} is not an address: write the primary server's, like \"192.0.2.53\" or \"192.0.2.53:53\"")
    })
}

fn dns_name(text: &str) -> Result<String, String> {
    let name = text.trim().trim_end_matches('.').to_ascii_lowercase();
    let good = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    match name.len() <= 253 && name.split('.').all(good) {
        true => Ok(name),
        false => Err(format!("{text:?} is not a name of the DNS: write it like \"example.com\"")),
    }
}
