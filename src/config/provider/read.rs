//! The keys of a provider.

use super::{Challenges, Clients, HostPattern, Note, Provider, Redirects, Registration, Resource, Rotation, table};
use crate::config::document::Place;
use crate::config::quirks;
use crate::config::reader::{Errors, Found, Reader};
use crate::config::units::positive_duration;
use crate::config::upstream::{endpoint, path, printable, scopes};
use crate::oauth::scope::Scopes;
use std::collections::BTreeMap;

/// What may stand in braces in `advice`.
const PLACEHOLDERS: [&str; 2] = ["redirect_uri", "domain"];

/// Every `[[provider]]`, each laid over what the table has under its id. No id twice, and no host with two providers.
pub(in crate::config) fn all(readers: Vec<Reader<'_>>, errors: &Errors) -> Vec<Provider> {
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    let mut all: Vec<(Provider, Place)> = Vec::new();
    for mut reader in readers {
        let (place, key) = (reader.place.clone(), reader.name("id"));
        let named = reader.has("id");
        let Some(Found { value: id, .. }) = reader.parsed("id", id) else {
            if !named {
                let why = "is missing: name a provider of docs/providers.md, or choose a name for a new one";
                errors.add(&place, &key, why);
            }
            continue;
        };
        if let Some(earlier) = seen.insert(id.clone(), place.clone()) {
            errors.add(&place, &key, format!("{id:?} is described at {earlier} already: keep one of them"));
            continue;
        }
        if let Some(keys) = table::keys(&id) {
            reader.underlay(keys, &place);
        }
        all.extend(read(reader, id).map(|provider| (provider, place)));
    }
    for (position, (provider, place)) in all.iter().enumerate() {
        let described = all[..position].iter().map(|(other, _)| other);
        let built_in = table::built_in().iter().filter(|one| !seen.contains_key(&one.id));
        for other in described.chain(built_in) {
            if let Some(host) = provider.hosts.iter().find(|host| other.hosts.contains(host)) {
                let why =
                    format!("is a host of the provider {:?}: describe that one instead, or leave it out", other.id);
                errors.add(place, &format!("provider.hosts: {host}"), why);
            }
        }
    }
    all.into_iter().map(|(provider, _)| provider).collect()
}

/// All keys but `id`; `None` when there is no provider without what is wrong.
pub(super) fn read(mut reader: Reader<'_>, id: String) -> Option<Provider> {
    let place = reader.place.clone();
    for (key, like) in [("name", "\"Example\""), ("hosts", "[\"mcp.example.com\"]")] {
        if !reader.has_some(key) {
            reader.error(&place, key, format!("is missing: every provider needs it, like {like}"));
        }
    }
    let name = reader.parsed("name", printable).map(|found| found.value);
    let hosts = reader.list("hosts", HostPattern::parse).map(|found| found.value);
    let resource = reader.parsed("resource", resource).map(|found| found.value).unwrap_or_default();
    let quirks = quirks::read(&mut reader, resource != Resource::Never);
    let provider = Provider {
        id,
        name: name.clone().unwrap_or_default(),
        hosts: hosts.unwrap_or_default(),
        path: reader.parsed("path", path).map(|found| found.value),
        registration: choice(&mut reader, "registration", &REGISTRATIONS),
        redirects: choice(&mut reader, "redirects", &REDIRECTS),
        clients: choice(&mut reader, "clients", &[("any", Clients::Any), ("named", Clients::Named)]),
        register_at: reader.parsed("register_at", endpoint).map(|found| found.value),
        resource,
        scopes: Scopes::lenient(scopes(&mut reader).unwrap_or_default().split(' ')),
        needs_scopes: reader.flag("needs_scopes").unwrap_or(false),
        offline_access: reader.flag("offline_access").unwrap_or(false),
        challenges: choice(&mut reader, "challenges", &CHALLENGES),
        rotation: rotation(&mut reader),
        quirks,
        advice: reader.parsed("advice", advice).map(|found| found.value),
        notes: reader.tables("note").into_iter().filter_map(note).collect(),
    };
    reader.finish();
    (name.is_some() && !provider.hosts.is_empty()).then_some(provider)
}

const REGISTRATIONS: [(&str, Registration); 6] = [
    ("dynamic", Registration::Dynamic),
    ("documents", Registration::Documents),
    ("dynamic-and-documents", Registration::DynamicAndDocuments),
    ("preregistered", Registration::Preregistered),
    ("none", Registration::None),
    ("unknown", Registration::Unknown),
];

const REDIRECTS: [(&str, Redirects); 4] = [
    ("any", Redirects::Any),
    ("allowlist", Redirects::Allowlist),
    ("loopback", Redirects::LoopbackOnly),
    ("fixed", Redirects::Fixed),
];

const CHALLENGES: [(&str, Challenges); 2] = [("at-once", Challenges::AtOnce), ("on-calls", Challenges::OnCalls)];

const ROTATIONS: [(&str, Rotation); 4] = [
    ("unknown", Rotation::Unknown),
    ("keeps", Rotation::Keeps),
    ("rotates", Rotation::Rotates { grace: None }),
    ("strict", Rotation::Strict),
];

/// A word of a list; the default of its type when there is none.
fn choice<T: Copy + Default>(reader: &mut Reader<'_>, key: &'static str, words: &[(&str, T)]) -> T {
    let found = reader.parsed(key, |text| {
        let known = words.iter().find(|(word, _)| *word == text);
        known.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("{text:?} is not a choice: write one of {}", words.join(", "))
        })
    });
    found.map(|found| found.value).unwrap_or_default()
}

fn rotation(reader: &mut Reader<'_>) -> Rotation {
    let rotation = choice(reader, "rotation", &ROTATIONS);
    let grace = reader.parsed("rotation_grace", positive_duration);
    match (rotation, grace) {
        (Rotation::Rotates { .. }, Some(grace)) => Rotation::Rotates { grace: Some(grace.value) },
        (rotation, Some(Found { place, .. })) => {
            reader.error(&place, "rotation_grace", "is used only with rotation = \"rotates\": set that, or remove it");
            rotation
        }
        (rotation, None) => rotation,
    }
}

fn note(mut reader: Reader<'_>) -> Option<Note> {
    let place = reader.place.clone();
    if !reader.has("text") {
        reader.error(&place, "text", "is missing: say what is known");
    }
    let text = reader.parsed("text", printable).map(|found| found.value);
    let source = reader.parsed("source", printable).map(|found| found.value);
    reader.finish();
    Some(Note { text: text?, source })
}

fn id(text: &str) -> Result<String, String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let good = (1..=40).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-');
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is not an id: use up to 40 characters of a-z, 0-9 and -"))
}

fn resource(text: &str) -> Result<Resource, String> {
    match text {
        "as-stated" => Ok(Resource::AsStated),
        "never" => Ok(Resource::Never),
        other if url::Url::parse(other).is_ok_and(|url| url.has_host() && url.fragment().is_none()) => {
            Ok(Resource::Fixed(other.to_owned()))
        }
        other => Err(format!(
            "{other:?} is not known: write \"as-stated\", \"never\", or the absolute URL to send, without fragment"
        )),
    }
}

fn advice(text: &str) -> Result<String, String> {
    for rest in text.split('{').skip(1) {
        let name = rest.split('}').next().unwrap_or_default();
        if !PLACEHOLDERS.contains(&name) {
            return Err(format!("{{{name}}} means nothing here: write {{redirect_uri}} or {{domain}}"));
        }
    }
    printable(text)
}
