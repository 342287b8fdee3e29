//! The sections that are single tables, key by key, with their defaults. (`[server]`, `[tls]`, `[store]` and `[vault]`,
//! which depend on each other, are in `ground.rs`.)

use super::reader::Reader;
use super::secrets::{self, Directories};
use super::{
    Audit, AuditedRequests, ConnectionLimits, Limits, Login, Prefixes, Rate, SecondFactor, SessionLives, Streams,
    Tokens, Unified, Unknown, Upstreams, login, units,
};
use crate::secret::Secret;
use std::time::Duration;

/// `[login]`; `local` comes from the Worker's variables.
pub(super) fn login(
    mut reader: Reader<'_>,
    local: Option<(String, Secret)>,
    allow_private: bool,
    directories: &Directories,
) -> Login {
    let password = reader.flag_found("password");
    let (has_github, github) = (reader.has("github"), reader.table("github"));
    let oidc = reader.tables("oidc");
    if let Some(password) = &password {
        let providers = usize::from(has_github) + oidc.len();
        login::must_have_a_way_in(&reader, password, providers, local.is_some());
    }
    let default = SessionLives::default();
    let second_factor = reader.parsed("second_factor", |text| match text {
        "optional" => Ok(SecondFactor::Optional),
        "required" => Ok(SecondFactor::Required),
        other => Err(format!("{other:?} is not a policy: write \"optional\" or \"required\"")),
    });
    let login = Login {
        password: password.is_none_or(|found| found.value),
        local,
        github: has_github.then(|| login::github(github, allow_private, directories)).flatten(),
        oidc: login::oidc(oidc, allow_private, directories),
        sessions: SessionLives {
            idle: positive(&mut reader, "session_idle", default.idle.as_secs()),
            ttl: positive(&mut reader, "session_ttl", default.ttl.as_secs()),
        },
        second_factor: second_factor.map_or(SecondFactor::Optional, |found| found.value),
    };
    reader.finish();
    login
}

/// `[tokens]`
pub(super) fn tokens(mut reader: Reader<'_>) -> Tokens {
    let tokens = Tokens {
        access_ttl: positive(&mut reader, "access_ttl", 24 * 3600),
        refresh_ttl: positive(&mut reader, "refresh_ttl", 30 * 86_400),
        rotation_grace: duration(&mut reader, "rotation_grace", 60),
        signing_algorithm: reader.parsed("signing_algorithm", str::parse).map(|found| found.value).unwrap_or_default(),
        key_rotation: reader.parsed("key_rotation", key_rotation).map_or(Some(90 * DAY), |found| found.value),
    };
    reader.finish();
    tokens
}

const DAY: Duration = Duration::from_secs(86_400);

fn key_rotation(text: &str) -> Result<Option<Duration>, String> {
    match units::duration_or_off(text)? {
        Some(every) if every < 2 * DAY => Err(format!(
            "{text:?} is too short: every key is published for a day before it signs; write \"2d\" or more"
        )),
        every => Ok(every),
    }
}

/// `[limits]`
pub(super) fn limits(mut reader: Reader<'_>, has_nodes: bool) -> Limits {
    const SECOND: u64 = 1;
    const MINUTE: u64 = 60;
    let limits = Limits {
        per_ip: rate(&mut reader, "per_ip", (100, SECOND, 200)),
        per_user: rate(&mut reader, "per_user", (100, SECOND, 200)),
        per_user_upstream: rate(&mut reader, "per_user_upstream", (50, SECOND, 200)),
        per_client: rate(&mut reader, "per_client", (100, SECOND, 200)),
        token_endpoint: rate(&mut reader, "token_endpoint", (10, SECOND, 60)),
        registration: rate(&mut reader, "registration", (30, MINUTE, 60)),
        login: rate(&mut reader, "login", (10, MINUTE, 20)),
        shared: shared(&mut reader, has_nodes),
        memory: memory(&mut reader),
        connections: connections(&mut reader),
    };
    reader.finish();
    limits
}

/// `limits.shared`
fn shared(reader: &mut Reader<'_>, has_nodes: bool) -> bool {
    let Some(flag) = reader.flag_found("shared") else { return false };
    if flag.value && !has_nodes {
        let why = "is for several nodes on one PostgreSQL: name it in store.url, or leave this out";
        reader.error(&flag.place, "shared", why);
    }
    flag.value
}

/// `limits.memory`
fn memory(reader: &mut Reader<'_>) -> Option<u64> {
    /// Twice of what a gateway takes that does nothing.
    const LEAST: u64 = 32 << 20;
    let found = reader.parsed("memory", units::size)?;
    if found.value < LEAST {
        reader.error(&found.place, "memory", "must not be smaller than 32 MiB: a gateway needs some to begin with");
    }
    Some(found.value)
}

fn connections(reader: &mut Reader<'_>) -> ConnectionLimits {
    const MOST: u32 = 1 << 20;
    let default = ConnectionLimits::default();
    let patience = |reader: &mut Reader<'_>, key, default: Duration| positive(reader, key, default.as_secs());
    ConnectionLimits {
        total: reader.number("connections", 16, MOST).map(|number| number as usize),
        per_address: reader.number("connections_per_ip", 1, MOST).unwrap_or(default.per_address),
        head_timeout: patience(reader, "head_timeout", default.head_timeout),
        idle_timeout: patience(reader, "idle_timeout", default.idle_timeout),
        body_timeout: patience(reader, "body_timeout", default.body_timeout),
        body_min_rate: reader.number("body_min_rate", 0, MOST).unwrap_or(default.body_min_rate),
    }
}

/// `[streams]`
pub(super) fn streams(mut reader: Reader<'_>) -> Streams {
    let streams = Streams {
        heartbeat: or_off(&mut reader, "heartbeat", Some(15)),
        websocket_heartbeat: or_off(&mut reader, "websocket_heartbeat", Some(15)),
        max_duration: or_off(&mut reader, "max_duration", None),
        write_timeout: positive(&mut reader, "write_timeout", 30),
        // Claude gives a tool call 300 seconds.
        response_timeout: positive(&mut reader, "response_timeout", 300),
        drain: duration(&mut reader, "drain", 30),
        upgrade_drain: duration(&mut reader, "upgrade_drain", 600),
    };
    reader.finish();
    streams
}

/// `[upstreams]`
pub(super) fn upstreams(mut reader: Reader<'_>, directories: &Directories) -> Upstreams {
    let unknown = reader.parsed("unknown", |text| match text {
        "ask" => Ok(Unknown::Ask),
        "deny" => Ok(Unknown::Deny),
        "allow" => Ok(Unknown::Allow),
        other => Err(format!("{other:?} is not a policy: write \"ask\", \"deny\" or \"allow\"")),
    });
    let upstreams = Upstreams {
        unknown: unknown.map_or(Unknown::Ask, |found| found.value),
        allow_private: reader.flag("allow_private").unwrap_or(false),
        ca_file: secrets::path(&mut reader, "ca_file", directories).map(|found| found.value),
        max_requests: reader.number("max_requests", 1, 1 << 20).unwrap_or(1024),
    };
    reader.finish();
    upstreams
}

/// `[unified]`
pub(super) fn unified(mut reader: Reader<'_>) -> Unified {
    let prefix = reader.parsed("prefix", |text| match text {
        "when_several" => Ok(Prefixes::WhenSeveral),
        "always" => Ok(Prefixes::Always),
        other => Err(format!("{other:?} is not a choice: write \"when_several\" or \"always\"")),
    });
    let meta_tools = reader.parsed("meta_tools", |text| match text {
        "off" => Ok(false),
        "on" => Ok(true),
        other => Err(format!("{other:?} is not a choice: write \"off\" or \"on\"")),
    });
    let default = Unified::default();
    let unified = Unified {
        enabled: reader.flag("enabled").unwrap_or(default.enabled),
        prefix: prefix.map_or(default.prefix, |found| found.value),
        list_timeout: positive(&mut reader, "list_timeout", default.list_timeout.as_secs()),
        call_timeout: positive(&mut reader, "call_timeout", default.call_timeout.as_secs()),
        max_body: reader.parsed("max_body", units::size).map_or(default.max_body, |found| found.value),
        meta_tools: meta_tools.map_or(default.meta_tools, |found| found.value),
        max_sessions: reader.number("max_sessions", 1, 1 << 20).unwrap_or(default.max_sessions),
    };
    reader.finish();
    unified
}

/// `[audit]`
pub(super) fn audit(mut reader: Reader<'_>, directories: &Directories) -> Audit {
    let requests = reader.parsed("requests", |text| match text {
        "all" => Ok(AuditedRequests::All),
        "calls" => Ok(AuditedRequests::Calls),
        "none" => Ok(AuditedRequests::None),
        other => Err(format!("{other:?} is not a choice of requests: write \"all\", \"calls\" or \"none\"")),
    });
    let audit = Audit {
        requests: requests.map_or(AuditedRequests::Calls, |found| found.value),
        keep: positive(&mut reader, "keep", 90 * 86_400),
        file: secrets::unwatched_path(&mut reader, "file", directories).map(|found| found.value),
    };
    reader.finish();
    audit
}

fn duration(reader: &mut Reader<'_>, key: &'static str, default: u64) -> Duration {
    reader.parsed(key, units::duration).map_or(Duration::from_secs(default), |found| found.value)
}

pub(super) fn positive(reader: &mut Reader<'_>, key: &'static str, default: u64) -> Duration {
    reader.parsed(key, units::positive_duration).map_or(Duration::from_secs(default), |found| found.value)
}

fn or_off(reader: &mut Reader<'_>, key: &'static str, default: Option<u64>) -> Option<Duration> {
    reader.parsed(key, units::duration_or_off).map_or(default.map(Duration::from_secs), |found| found.value)
}

fn rate(reader: &mut Reader<'_>, key: &'static str, (count, period, burst): (u32, u64, u32)) -> Rate {
    let default = Rate { count, period: Duration::from_secs(period), burst };
    reader.parsed(key, units::rate).map_or(default, |found| found.value)
}
