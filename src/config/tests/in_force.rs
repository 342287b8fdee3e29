//! What the dashboard tells of a configuration: everything, as it is written in the reference, and no secret.

use super::*;
use std::collections::BTreeSet;

/// The reference.
fn reference() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/portcullis.toml")).unwrap()
}

/// All settings by their full names.
fn all(config: &Config) -> BTreeMap<String, Setting> {
    let mut all = BTreeMap::new();
    for section in config.in_force().sections {
        for setting in section.settings {
            let name = format!("{}.{}", section.name, setting.key);
            assert!(all.insert(name.clone(), setting).is_none(), "{name} is told twice");
        }
    }
    all
}

/// A value of the reference as it is shown.
fn written(value: &toml_edit::Value) -> String {
    match value {
        toml_edit::Value::String(text) => text.value().clone(),
        toml_edit::Value::Array(list) => list.iter().map(written).collect::<Vec<_>>().join(", "),
        other => other.to_string().trim().to_owned(),
    }
}

#[test]
fn every_default_of_the_reference_is_told_as_it_is_written_there() {
    let home = tempfile::tempdir().unwrap();
    let config = load(&environment(&[("XDG_STATE_HOME", home.path().to_str().unwrap())])).unwrap();
    let (told, reference) = (all(&config), reference());
    let document = toml_edit::Document::parse(reference).unwrap();
    let mut seen = 0;
    for (table, item) in document.iter() {
        for (key, value) in item.as_table().unwrap().iter() {
            let name = format!("{table}.{key}");
            let setting = told.get(&name).unwrap_or_else(|| panic!("{name} is not told"));
            assert_eq!((&setting.given, setting.waits), (&None, false), "{name}");
            seen += 1;
            // Without a collector nothing asks for them.
            if !["telemetry.otlp_sample", "telemetry.service_name"].contains(&name.as_str()) {
                assert_eq!(setting.value, Shown::Text(written(value.as_value().unwrap())), "{name}");
            }
        }
    }
    assert!(seen > 50, "{seen}");
}

/// Everything that can be written, with every secret in place of one.
const EVERYTHING: &str = r#"
[server]
domain = "gw.example"
public_url = "https://gw.example"
http_listen = "0.0.0.0:80"
trusted_proxies = ["10.0.0.0/8"]
[tls]
mode = "acme"
[tls.acme]
email = "a@gw.example"
challenge = "dns-01"
eab_key_id = "kid-1"
eab_hmac_key = "SECRETSECRETSECRETSECRET"
renew_before = "30d"
[tls.acme.rfc2136]
server = "192.0.2.53"
zone = "example"
key_name = "portcullis"
key = "U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU"
[store]
url = "postgres://portcullis:SECRET@db.example/portcullis"
[vault]
key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
previous_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
[vault.pkcs11]
module = "/usr/lib/softhsm/libsofthsm2.so"
token = "portcullis"
key = "vault"
pin = "SECRET"
[login.github]
client_id = "id"
client_secret = "SECRET"
allowed_users = ["octocat"]
allowed_orgs = ["example"]
admin_users = ["octocat"]
[[login.oidc]]
name = "company"
label = "Example"
issuer = "https://id.example.com"
client_id = "id"
client_secret = "SECRET"
allowed_domains = ["example.com"]
allowed_groups = ["staff"]
[registration]
mode = "token"
initial_access_token = "SECRETSECRETSECRETSECRET"
[[upstream]]
domain = "mcp.example.com"
name = "Example"
alias = "example"
path = "/mcp"
client_id = "id"
client_secret = "SECRET"
scopes = "read write"
allow_users = ["alice"]
tools.allow = ["get_*"]
tools.deny = ["*_x"]
[[upstream]]
domain = "other.example.com"
auth = "header"
header = "x-api-key"
value = "SECRET"
[[upstream]]
domain = "own.example.com"
auth = "header"
header = "x-api-key"
personal = true
prefix = "Bearer "
[[upstream]]
command = ["true", "--key=SECRET"]
alias = "time"
env = { TOKEN = "SECRET" }
personal_env = ["GITHUB_TOKEN"]
[[provider]]
id = "our-gitlab"
name = "GitLab"
hosts = ["git.example.com"]
[[service]]
preset = "github"
client_id = "id"
client_secret = "SECRET"
pat = "SECRET"
headers = { x-key = "SECRET" }
[telemetry]
otlp_endpoint = "http://127.0.0.1:4318"
otlp_headers = "authorization=SECRET"
"#;

#[test]
fn no_secret_is_told_wherever_it_is_written() {
    let trial =
        Trial::new(EVERYTHING).with(&[("PATH", "/bin:/usr/bin"), ("LOCAL_USER", "root"), ("LOCAL_PASSWORD", "SECRET")]);
    let config = trial.load();
    let told = all(&config);
    for secret in ["SECRET", "U0VDUkVU", "AAECAwQF"] {
        assert!(!format!("{:?}", config.in_force()).contains(secret), "{secret}");
    }
    for name in [
        "tls.acme.eab_hmac_key",
        "tls.acme.rfc2136.key",
        "store.url",
        "vault.key",
        "vault.previous_key_files",
        "vault.pkcs11.pin",
        "login.LOCAL_PASSWORD",
        "login.github.client_secret",
        "login.oidc[0].client_secret",
        "registration.initial_access_token",
        "upstream[0].client_secret",
        "upstream[1].value",
        "service[0].client_secret",
        "service[0].pat",
        "telemetry.otlp_headers",
    ] {
        assert_eq!(told[name].value, Shown::Secret, "{name}");
    }
}

/// The keys of the reference that are written as comments, by their tables.
fn commented() -> BTreeSet<(String, String)> {
    let (mut table, mut keys) = (String::new(), BTreeSet::new());
    for line in reference().lines() {
        let line = line.trim_start_matches('#').trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            table = name.trim_start_matches('[').to_owned();
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._".contains(&b))
        {
            keys.insert((table.clone(), key.to_owned()));
        }
    }
    keys
}

#[test]
fn every_key_of_the_reference_is_told_where_it_is_written() {
    let trial = Trial::new(EVERYTHING).with(&[("PATH", "/bin:/usr/bin")]);
    let told: BTreeSet<(String, String)> = all(&trial.load())
        .into_keys()
        .map(|name| {
            // The key of a table of tools has a dot too.
            let (table, key) = match name.split_once("].") {
                Some((table, key)) => (table.split('[').next().unwrap(), key),
                None => name.rsplit_once('.').unwrap(),
            };
            (table.to_owned(), key.to_owned())
        })
        .collect();
    // Another way to say something that is told.
    let other_ways = [("tls.acme", "hook"), ("vault", "previous_key"), ("service", "preset"), ("provider", "other")];
    for (table, key) in commented() {
        let plain = key.strip_suffix("_file").unwrap_or(&key).to_owned();
        let is_told = [key.clone(), plain].iter().any(|key| told.contains(&(table.clone(), key.clone())));
        assert!(is_told || other_ways.contains(&(table.as_str(), key.as_str())), "[{table}] {key} is not told");
    }
}

#[test]
fn what_was_written_says_where() {
    let trial = Trial::new(
        "[tokens]\naccess_ttl = \"2h\"\n[login.github]\nclient_id = \"id\"\nclient_secret_file = \"s\"\n\
                            allowed_users = [\"x\"]\n[[service]]\npreset = \"github\"\nclient_id = \"id\"\n",
    )
    .write("s", "hunter2\n")
    .with(&[("PORTCULLIS__LIMITS__PER_IP", "5/s")]);
    let mut config = trial.load();
    let told = all(&config);
    let given = |name: &str| told[name].given.as_deref();
    assert_eq!(given("tokens.access_ttl"), Some("line 2"));
    assert_eq!(told["tokens.access_ttl"].value, Shown::Text("2h".to_owned()));
    assert_eq!(given("login.github.client_secret"), Some("line 5"));
    assert_eq!(given("limits.per_ip"), Some("PORTCULLIS__LIMITS__PER_IP"));
    assert_eq!(given("service[0].client_id"), Some("line 9"));
    assert_eq!(given("service[0].token_endpoint"), None, "the preset says so");
    assert!(config.in_force().files.iter().any(|file| file.ends_with("s")));

    let running = Trial::new("[store]\nconnections = 8\n").load();
    assert_eq!(config.keep_fixed(&running), ["store.connections"]);
    let told = all(&config);
    assert!(told["store.connections"].waits && !told["tokens.access_ttl"].waits);
    assert_eq!(told["store.connections"].value, Shown::Text("8".to_owned()), "what is in force");
}
