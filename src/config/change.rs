//! What a new configuration changes, and what it cannot change in a program that runs.

use super::{Config, Database, Login, OAuthSettings, Tls, UpstreamAuth, login};
use crate::secret::Secret;

impl Config {
    /// Takes over from `running`, the configuration in force, what cannot change without a restart: sockets, names and
    /// the database. The keys that would have been different; none for most changes.
    pub fn keep_fixed(&mut self, running: &Config) -> Vec<&'static str> {
        self.stdio.launcher.clone_from(&running.stdio.launcher);
        let (new, old) = (&mut self.server, &running.server);
        let mut fixed = vec![
            keep("server.domain", &mut new.domain, &old.domain),
            keep("server.listen", &mut new.listen, &old.listen),
            keep("server.http_listen", &mut new.http_listen, &old.http_listen),
            keep("server.admin_listen", &mut new.admin_listen, &old.admin_listen),
            keep("server.public_url", &mut new.public, &old.public),
            self.store.keep_url(&running.store),
            keep("store.connections", &mut self.store.connections, &running.store.connections),
            keep("store.spool", &mut self.spool, &running.spool),
            keep("telemetry.log_format", &mut self.telemetry.json, &running.telemetry.json),
        ];
        fixed.push(keep("telemetry.otlp_*", &mut self.telemetry.otlp, &running.telemetry.otlp));
        fixed.push(keep("audit.requests", &mut self.audit.requests, &running.audit.requests));
        let (new, old) = (&mut self.upstreams.max_requests, &running.upstreams.max_requests);
        fixed.push(keep("upstreams.max_requests", new, old));
        fixed.push(keep("stdio", &mut self.stdio, &running.stdio));
        fixed.push(keep("limits.shared", &mut self.limits.shared, &running.limits.shared));
        if is_behind_tls(self) != is_behind_tls(running) {
            // With it, what people's clients know the gateway by would change from http to https.
            self.server.trusted_proxies.clone_from(&running.server.trusted_proxies);
            fixed.push(Some("server.trusted_proxies"));
        }
        if std::mem::discriminant(&self.tls) != std::mem::discriminant(&running.tls) {
            self.tls = running.tls.clone();
            fixed.push(Some("tls.mode"));
        }
        if fixed.contains(&Some("store.url")) {
            // By default the key is beside the database.
            self.vault = running.vault.clone();
        }
        let fixed: Vec<&'static str> = fixed.into_iter().flatten().collect();
        self.origins.wait(&fixed);
        fixed
    }

    /// The parts that are different from `running`, upstreams aside.
    pub fn changes(&self, running: &Config) -> Vec<&'static str> {
        let (new, old) = (&self.server, &running.server);
        let changed = [
            ("server.trusted_proxies", new.trusted_proxies != old.trusted_proxies),
            ("server.proxy_protocol", new.proxy_protocol != old.proxy_protocol),
            ("server.allowed_origins", new.allowed_origins != old.allowed_origins),
            ("server.max_body", new.max_body != old.max_body),
            ("server.kept_body", new.kept_body != old.kept_body),
            ("server.kept_total", new.kept_total != old.kept_total),
            ("tls", self.tls != running.tls),
            ("login", !self.login.is_like(&running.login)),
            ("tokens", self.tokens != running.tokens),
            ("registration", !self.registration.is_same(&running.registration)),
            ("limits", self.limits != running.limits),
            ("streams", self.streams != running.streams),
            ("upstreams", self.upstreams != running.upstreams),
            ("unified", self.unified != running.unified),
            ("audit", self.audit != running.audit),
            ("telemetry.level", self.telemetry.level != running.telemetry.level),
        ];
        changed.into_iter().filter_map(|(name, changed)| changed.then_some(name)).collect()
    }
}

impl Database {
    fn keep_url(&mut self, running: &Database) -> Option<&'static str> {
        if self.url.matches(running.url.expose()) {
            return None;
        }
        self.url = running.url.clone();
        Some("store.url")
    }
}

impl Login {
    /// Whether people sign in by the same rules. (The configured administrator is only looked at when the gateway starts.)
    fn is_like(&self, other: &Login) -> bool {
        let lives = self.sessions == other.sessions;
        let ways = self.password == other.password && login::same_providers(self, other);
        ways && lives && self.second_factor == other.second_factor
    }
}

impl UpstreamAuth {
    /// Whether an upstream is authorized in exactly the same way, secrets included.
    pub fn is_same(&self, other: &UpstreamAuth) -> bool {
        match (self, other) {
            (UpstreamAuth::None, UpstreamAuth::None) => true,
            (UpstreamAuth::OAuth(a), UpstreamAuth::OAuth(b)) => a.is_same(b),
            (UpstreamAuth::Personal(a), UpstreamAuth::Personal(b)) => a == b,
            (UpstreamAuth::Header { name, value }, UpstreamAuth::Header { name: other, value: expected }) => {
                name == other && value.matches(expected.expose())
            }
            _ => false,
        }
    }
}

impl OAuthSettings {
    fn is_same(&self, other: &OAuthSettings) -> bool {
        let OAuthSettings {
            issuer,
            authorization_endpoint,
            token_endpoint,
            client_id,
            client_secret,
            scopes,
            resource,
        } = self;
        *issuer == other.issuer
            && *authorization_endpoint == other.authorization_endpoint
            && *token_endpoint == other.token_endpoint
            && *client_id == other.client_id
            && same(client_secret.as_ref(), other.client_secret.as_ref())
            && *scopes == other.scopes
            && *resource == other.resource
    }
}

pub(super) fn same(a: Option<&Secret>, b: Option<&Secret>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.matches(b.expose()),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn keep<T: PartialEq + Clone>(key: &'static str, new: &mut T, old: &T) -> Option<&'static str> {
    if new == old {
        return None;
    }
    new.clone_from(old);
    Some(key)
}

/// Whether people come over https although we do not speak it (DESIGN 1.5).
fn is_behind_tls(config: &Config) -> bool {
    let server = &config.server;
    let derived = server.public.is_none() && config.tls == Tls::Off && server.domain != "localhost";
    derived && !server.trusted_proxies.is_empty()
}
