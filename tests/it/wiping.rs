//! Secrets are wiped from memory when they go: in a type that does it, or for a reason that stands here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Parts of the names of fields that hold secrets.
const NAMES: [&str; 18] = [
    "api_key",
    "assertion",
    "bearer",
    "code_verifier",
    "cookie",
    "credential",
    "csrf_token",
    "device_code",
    "hmac",
    "passphrase",
    "password",
    "pat",
    "pin",
    "private_key",
    "secret",
    "token",
    "user_code",
    "verifier",
];
/// Types that keep what they held.
const PLAIN: [&str; 9] =
    ["String", "Vec<u8>", "Bytes", "BytesMut", "[u8", "Cow<", "Box<str>", "HeaderValue", "Arc<str>"];
/// Names that only sound like it.
const NO_SECRETS: [&str; 17] = [
    "token_endpoint",
    "token_endpoint_auth_method",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "id_token_signing_alg_values_supported",
    "bearer_methods_supported",
    "token_member",
    "token_exchange",
    "jwt_bearer",
    "client_credentials",
    "credential_id",
    "password_hash",
    "sealed_secret",
    "path",
    "paths",
    "pattern",
    "patterns",
];
/// Why the others are plain: `file`, `type.field`, reason.
const REASONS: &[(&str, &[&str], &str)] = &[
    ("dashboard/", &["csrf_token"], "a form: what it has is the page's of the person, who sees it"),
    ("broker/consent.rs", &["csrf_token"], "the same"),
    (
        "dashboard/",
        &[
            "Credentials.password",
            "Claim.password",
            "Claim.password_again",
            "PasswordForm.password",
            "PasswordForm.new_password",
            "PasswordForm.new_password_again",
            "ServiceForm.pat",
        ],
        "a form whose handler begins by making a `Secret` of the very text",
    ),
    ("dashboard/", &["Claim.token", "SetupQuery.token"], "good for one claim of a gateway that has no people yet"),
    ("dashboard/", &["PasskeyForm.credential"], "a signature over a challenge that is used up"),
    ("dashboard/pending.rs", &["Written.password"], "a digest of a hash"),
    ("administration/records/programs.rs", &["CreatedClient.secret"], "goes out in the answer"),
    ("broker/tokens.rs", &["Handed.access_token"], "goes out in the answer"),
    ("issuer/token.rs", &["Issue.refresh_token", "TokenResponse.access_token"], "goes out in the answer"),
    ("issuer/answer.rs", &["ToDevice.user_code"], "is on a screen, and worth nothing without its person"),
    (
        "cli/login.rs",
        &["Device.device_code", "Device.user_code", "Registered.registration_access_token"],
        "a program that ends at once and keeps them in a file of its user",
    ),
    (
        "doctor/replay/registration.rs",
        &["Client.secret", "Registered.client_secret", "Registered.registration_access_token"],
        "of a client that the doctor registers and deletes again",
    ),
    ("vault/", &["Pkcs11.token", "WrappedKey.token"], "the name of a device"),
];

#[test]
fn whatever_holds_a_secret_wipes_it_or_has_a_reason() {
    let (mut unwiped, mut wiped, mut used) = (Vec::new(), 0, BTreeSet::new());
    for (file, text) in sources() {
        for field in fields(&text) {
            if field.wiped {
                wiped += 1;
                continue;
            }
            let reason = REASONS.iter().position(|(place, names, _)| {
                file.starts_with(place)
                    && names.iter().any(|name| *name == field.name || field.name.ends_with(&format!(".{name}")))
            });
            match reason {
                Some(reason) => _ = used.insert(reason),
                None => unwiped.push(format!("{file}: {}: {}", field.name, field.kind)),
            }
        }
    }
    assert!(unwiped.is_empty(), "make them `Secret`s, or derive `ZeroizeOnDrop`:\n{}", unwiped.join("\n"));
    assert!(wiped >= 6, "only {wiped} fields were found that are wiped");
    let unused: Vec<_> =
        (0..REASONS.len()).filter(|reason| !used.contains(reason)).map(|reason| REASONS[reason].1).collect();
    assert!(unused.is_empty(), "reasons for nothing: {unused:?}");
}

/// The ones that all others are made of, asked of the compiler.
#[test]
fn the_types_of_secrets_wipe_themselves() {
    fn wipes<T: zeroize::ZeroizeOnDrop>() {}
    wipes::<portcullis::secret::Secret>();
    wipes::<zeroize::Zeroizing<String>>();
    wipes::<zeroize::Zeroizing<Vec<u8>>>();
    wipes::<zeroize::Zeroizing<[u8; 32]>>();
}

struct Field {
    /// `Type.field`
    name: String,
    kind: String,
    /// Whether its type says so.
    wiped: bool,
}

/// Fields of structs that are called like secrets and have types that keep what they held.
fn fields(text: &str) -> Vec<Field> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let (mut found, mut derives, mut of) = (Vec::new(), String::new(), None::<(String, bool)>);
    for line in code.lines().map(str::trim) {
        if let Some((name, wiped)) = &of {
            if line == "}" {
                (of, derives) = (None, String::new());
            } else if let Some((field, kind)) = line.trim_end_matches(',').split_once(": ") {
                let field = field.rsplit(' ').next().unwrap_or(field);
                let plain = PLAIN.iter().any(|plain| kind.contains(plain))
                    && !kind.contains("Zeroizing")
                    && !kind.contains("Secret");
                if plain && sounds_secret(field) && !line.starts_with("//") {
                    found.push(Field { name: format!("{name}.{field}"), kind: kind.to_owned(), wiped: *wiped });
                }
            }
        } else if let Some(at) = line.find("struct ").filter(|_| line.ends_with('{')) {
            let name = line[at + 7..].split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            of = Some((name.to_owned(), derives.contains("ZeroizeOnDrop")));
        } else if line.starts_with("#[") {
            derives += line;
        } else if !line.starts_with("//") {
            derives.clear();
        }
    }
    found
}

fn sounds_secret(field: &str) -> bool {
    let words = |name: &str| {
        NAMES.iter().any(|secret| match secret.len() {
            // Short ones are words by themselves.
            0..=3 => name == *secret,
            _ => name.contains(secret),
        })
    };
    words(field) && !NO_SECRETS.contains(&field)
}

/// Everything but tests and what stands around a gateway.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut directories, mut found) = (vec![root.clone()], Vec::new());
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            let skipped = name.contains("tests") || name.starts_with("devkit") || name.starts_with("app/model");
            if path.is_dir() && !skipped {
                directories.push(path);
            } else if name.ends_with(".rs") && !skipped {
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}
