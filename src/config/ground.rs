//! `[server]` and `[vault]`, whose defaults depend on each other: on one's own machine
//! (`domain = "localhost"`) everything has a default; anywhere else TLS must be decided about.

use super::document::{Node, Place, Value};
use super::reader::{Found, Reader};
use super::secrets::{self, Directories};
use super::{Challenge, Server, Tls, VaultKeys, database, units, vault_key};
use crate::hostname::{Authority, Scheme};
use crate::secret::Secret;
use crate::vault::Pkcs11;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

pub(super) const LOCALHOST: &str = "localhost";
const NOT_A_VAULT_KEY: &str = "is not 32 bytes in base64: `portcullis vault keygen` prints a good one";

/// `server.domain`, which the other sections ask for.
pub(super) fn domain(server: &mut Reader<'_>) -> Found<String> {
    let found = server.parsed("domain", |text| {
        let authority = Authority::from_input(text).map_err(|why| why.to_string())?;
        if authority.as_str().contains(':') {
            return Err("must have no port: ports belong into server.listen and server.public_url".to_owned());
        }
        if authority.ipv4().is_some() {
            return Err("an address has no subdomains: write a domain, or \"localhost\" on your own machine".to_owned());
        }
        Ok(authority.host().to_owned())
    });
    found.unwrap_or_else(|| Found { value: LOCALHOST.to_owned(), place: Place::Nowhere })
}

/// The rest of `[server]`.
pub(super) fn server(mut reader: Reader<'_>, domain: String, tls: &Tls) -> Server {
    let listen = reader.list("listen", socket_address);
    if let Some(Found { place, .. }) = listen.as_ref().filter(|found| found.value.is_empty()) {
        reader.error(place, "listen", "must have at least one good address, like [\"127.0.0.1:8080\"]");
    }
    let default_listen = match tls {
        Tls::Files { .. } | Tls::Acme(_) if domain != LOCALHOST => SocketAddr::from(([0, 0, 0, 0], 443)),
        _ => SocketAddr::from(([127, 0, 0, 1], 8080)),
    };
    let admin_listen = reader.parsed("admin_listen", |text| match text {
        "" => Ok(None),
        text => socket_address(text).map(Some),
    });
    let http_listen = http_listen(&mut reader, tls);
    let (kept_body, kept_total) = kept(&mut reader);
    let trusted_proxies = reader.list("trusted_proxies", network).map(|found| found.value).unwrap_or_default();
    let origins = ["https://claude.ai", "https://claude.com", "https://chatgpt.com"].map(str::to_owned);
    let server = Server {
        listen: listen.map_or_else(|| vec![default_listen], |found| found.value),
        admin_listen: admin_listen.map_or(Some(SocketAddr::from(([127, 0, 0, 1], 9464))), |found| found.value),
        http_listen,
        public: reader.parsed("public_url", |text| public_url(text, &domain)).map(|found| found.value),
        proxy_protocol: proxy_protocol(&mut reader, &trusted_proxies),
        trusted_proxies,
        allowed_origins: reader.list("allowed_origins", origin).map_or_else(|| origins.to_vec(), |found| found.value),
        max_body: reader.parsed("max_body", units::size).map_or(32 << 20, |found| found.value),
        kept_body,
        kept_total,
        domain,
    };
    reader.finish();
    server
}

/// `server.http_listen`: what the certificate authority asks on port 80 has to be answered there.
fn http_listen(reader: &mut Reader<'_>, tls: &Tls) -> Option<SocketAddr> {
    let needed = matches!(tls, Tls::Acme(acme) if acme.challenge == Challenge::Http01);
    let found = reader.parsed("http_listen", |text| match text {
        "" => Ok(None),
        text => socket_address(text).map(Some),
    });
    let Some(Found { value, place }) = found else {
        return needed.then_some(SocketAddr::from(([0, 0, 0, 0], 80)));
    };
    if value.is_some() && *tls == Tls::Off {
        let why = "redirects to https, which this gateway does not speak with tls.mode = \"off\": remove it";
        reader.error(&place, "http_listen", why);
    } else if value.is_none() && needed {
        let why = "is where tls.acme.challenge = \"http-01\" is answered: leave it out for \"0.0.0.0:80\", or choose \
                   another challenge";
        reader.error(&place, "http_listen", why);
    }
    value
}

/// `server.kept_body` and `server.kept_total`.
fn kept(reader: &mut Reader<'_>) -> (u64, u64) {
    let each = reader.parsed("kept_body", units::size).map_or(64 << 10, |found| found.value);
    let total = reader.parsed("kept_total", units::size);
    if let Some(Found { place, .. }) = total.as_ref().filter(|total| total.value < each) {
        reader.error(place, "kept_total", "must not be smaller than server.kept_body, or no body of that size is kept");
    }
    (each, total.map_or((64 << 20).max(each), |found| found.value))
}

fn proxy_protocol(reader: &mut Reader<'_>, trusted_proxies: &[IpNet]) -> bool {
    let Some(flag) = reader.flag_found("proxy_protocol") else { return false };
    if flag.value && trusted_proxies.is_empty() {
        let why = "needs the load balancer's address in server.trusted_proxies: nobody else may send the header";
        reader.error(&flag.place, "proxy_protocol", why);
    }
    flag.value
}

/// `[vault]`. The key file is neither read nor made here.
pub(super) fn vault(mut reader: Reader<'_>, store_url: &str, directories: &Directories) -> VaultKeys {
    let text = secrets::take_text(&mut reader, "key");
    let file = secrets::path(&mut reader, "key_file", directories);
    let credential = directories.credential("vault.key");
    secrets::refuse_repetition(&reader, "key", text.as_ref(), file.as_ref().map(|f| &f.place), credential.is_some());
    let given = text.or_else(|| {
        let place = Place::Variable("CREDENTIALS_DIRECTORY".to_owned());
        match secrets::read(&credential?) {
            Ok(value) => Some(Found { value, place }),
            Err(why) => {
                reader.error(&place, "key", why);
                None
            }
        }
    });
    if given.is_none() && file.is_none() {
        database::needs_given_key(&reader, store_url);
    }
    let key = given.and_then(|found| normalized(&reader, "key", &found));
    let previous = previous_keys(&mut reader, directories);
    let pkcs11 = pkcs11(reader.table("pkcs11"), directories);
    reader.finish();
    let key_file = match (&key, file) {
        (Some(_), _) => None,
        (None, Some(file)) => Some(file.value),
        (None, None) => database_file(store_url).map(|path| path.with_file_name("vault.key")),
    };
    VaultKeys { key, key_file, previous, pkcs11 }
}

/// `[vault.pkcs11]`: all of it or nothing.
fn pkcs11(mut reader: Reader<'_>, directories: &Directories) -> Option<Pkcs11> {
    let module = secrets::path(&mut reader, "module", directories);
    let (token, key) = (reader.text("token"), reader.text("key"));
    let pin = secrets::take(&mut reader, ("pin", "pin_file"), "vault.pkcs11.pin", directories);
    let place = reader.place.clone();
    let given = match (module, token, key, pin) {
        (None, None, None, None) => None,
        (Some(module), Some(token), Some(key), Some(pin)) => {
            Some(Pkcs11 { module: module.value, token: token.value, key: key.value, pin: pin.value })
        }
        (_, _, _, pin) => {
            let place = if place == Place::Nowhere { pin.map_or(place, |pin| pin.place) } else { place };
            reader.error(&place, "module", "vault.pkcs11 needs all of module, token, key and pin_file");
            None
        }
    };
    reader.finish();
    given
}

/// Files, and what programs without files have: `vault.previous_key`, also as a credential.
fn previous_keys(reader: &mut Reader<'_>, directories: &Directories) -> Vec<Secret> {
    let text = secrets::take_text(reader, "previous_key");
    let mut keys: Vec<Secret> = text.and_then(|found| normalized(reader, "previous_key", &found)).into_iter().collect();
    if let Some(path) = directories.credential("vault.previous_key") {
        let place = Place::Variable("CREDENTIALS_DIRECTORY".to_owned());
        match secrets::read(&path) {
            Ok(value) => keys.extend(normalized(reader, "previous_key", &Found { value, place })),
            Err(why) => reader.error(&place, "previous_key", why),
        }
    }
    keys.extend(previous_key_files(reader, directories));
    keys
}

fn previous_key_files(reader: &mut Reader<'_>, directories: &Directories) -> Vec<Secret> {
    let Some(files) = reader.list("previous_key_files", |text| Ok(text.to_owned())) else { return Vec::new() };
    let read = |path: &String| match secrets::read(&directories.resolve(path, &files.place)) {
        Ok(value) => normalized(reader, "previous_key_files", &Found { value, place: files.place.clone() }),
        Err(why) => {
            reader.error(&files.place, "previous_key_files", why);
            None
        }
    };
    files.value.iter().filter_map(read).collect()
}

fn normalized(reader: &Reader<'_>, key: &str, found: &Found<Secret>) -> Option<Secret> {
    let normalized = vault_key::normalize(&found.value);
    if normalized.is_none() {
        reader.error(&found.place, key, NOT_A_VAULT_KEY);
    }
    normalized
}

/// Where data lives when nothing is said (XDG Base Directory Specification: relative paths there count as unset).
pub(super) fn state_directory(domain: &str, environment: &BTreeMap<String, String>) -> PathBuf {
    let absolute = |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let own = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    own.filter(|_| domain == LOCALHOST).unwrap_or_else(|| PathBuf::from("/var/lib")).join("portcullis")
}

/// The file of a `sqlite://` URL; none for a database in memory.
pub(super) fn database_file(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite://")?.split('?').next()?;
    (!path.is_empty() && path != ":memory:").then(|| Path::new(path))
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| {
        format!("{text:?} is not an address with a port: write it like \"127.0.0.1:8080\" or \"[::1]:8080\"")
    })
}

fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let wrong =
        || format!("{text:?} is neither an address nor a network: write it like \"10.0.0.7\" or \"10.0.0.0/8\"");
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().map(|net: IpNet| net.trunc()).or_else(|_| address()).map_err(|_| wrong())
}

fn origin(text: &str) -> Result<String, String> {
    let text = text.trim();
    let parsed = url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let origin = parsed.map(|url| url.origin().ascii_serialization());
    let bare = text.strip_suffix('/').unwrap_or(text);
    origin
        .filter(|origin| origin.eq_ignore_ascii_case(bare) && !origin.contains('*'))
        .ok_or_else(|| format!("{text:?} is not an origin: write scheme and host alone, like \"https://claude.ai\""))
}

fn public_url(text: &str, domain: &str) -> Result<(Scheme, u16), String> {
    let wrong = || {
        format!(
            "{text:?} must be the origin of server.domain: write \"https://{domain}\", with the port if there is one"
        )
    };
    let url = url::Url::parse(text.trim()).map_err(|_| wrong())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if url.host_str() != Some(domain) || !bare || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong());
    }
    let scheme = match url.scheme() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(wrong()),
    };
    url.port_or_known_default().filter(|port| *port != 0).map(|port| (scheme, port)).ok_or_else(wrong)
}

/// Sets `section.key` when the configuration does not.
pub(super) fn set_default(entries: &mut super::document::Entries, (section, key): (&str, &str), node: Node) {
    let place = node.place.clone();
    let table = entries.entry(section.to_owned()).or_insert(Node { value: Value::Table(BTreeMap::new()), place });
    if let Value::Table(keys) = &mut table.value {
        keys.entry(key.to_owned()).or_insert(node);
    }
}
