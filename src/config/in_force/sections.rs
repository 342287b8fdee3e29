//! The tables that there is one of.

use super::Out;
use super::shown::{Show, Shown};
use crate::config::Config;
use crate::config::{
    Acme, Audit, AuditedRequests, Challenge, ConnectionLimits, Database, ExternalAccount, Limits, Otlp, Prefixes,
    Records, Registration, RegistrationMode, Rfc2136, Server, Stdio, Streams, Telemetry, Tls, Tokens, TsigAlgorithm,
    Unified, Unknown, Upstreams, VaultKeys,
};
use crate::hostname::Scheme;
use crate::jose::SigningAlgorithm;
use crate::vault::Pkcs11;
use std::path::Path;

impl Out<'_> {
    /// Everything, in the order of the reference.
    pub(super) fn all(&mut self) {
        let Config {
            server,
            tls,
            store,
            spool,
            vault,
            login,
            tokens,
            registration,
            limits,
            streams,
            upstreams,
            upstream,
            stdio,
            unified,
            service,
            provider,
            audit,
            telemetry,
            files: _,
            origins: _,
        } = self.config;
        self.server(server);
        self.tls(tls);
        self.store(store, spool.as_deref());
        self.vault(vault);
        self.login(login);
        self.tokens(tokens);
        self.registration(registration);
        self.limits(limits);
        self.streams(streams);
        self.upstreams(upstreams);
        self.each_upstream(upstream);
        self.stdio(stdio);
        self.unified(unified);
        self.providers(provider);
        self.services(service);
        self.audit(audit);
        self.telemetry(telemetry);
    }

    fn server(&mut self, server: &Server) {
        let Server {
            domain,
            listen,
            http_listen,
            admin_listen,
            public,
            trusted_proxies,
            proxy_protocol,
            allowed_origins,
            max_body,
            kept_body,
            kept_total,
        } = server;
        self.table("server");
        self.set("domain", domain);
        self.set("listen", listen);
        self.option("http_listen", http_listen.as_ref());
        self.or("admin_listen", admin_listen.as_ref(), "");
        let url = public.map(|(scheme, port)| match (scheme, port) {
            (Scheme::Http, 80) => format!("http://{domain}"),
            (Scheme::Https, 443) => format!("https://{domain}"),
            (Scheme::Http, port) => format!("http://{domain}:{port}"),
            (Scheme::Https, port) => format!("https://{domain}:{port}"),
        });
        self.option("public_url", url.as_ref());
        self.set("trusted_proxies", trusted_proxies);
        self.set("proxy_protocol", proxy_protocol);
        self.set("allowed_origins", allowed_origins);
        self.set("max_body", max_body);
        self.set("kept_body", kept_body);
        self.set("kept_total", kept_total);
    }

    fn tls(&mut self, tls: &Tls) {
        self.table("tls");
        match tls {
            Tls::Off => self.set("mode", "off"),
            Tls::Files { .. } => self.set("mode", "files"),
            Tls::Acme(_) => self.set("mode", "acme"),
        }
        let (cert, key) = match tls {
            Tls::Files { cert, key } => (Some(cert), Some(key)),
            Tls::Off | Tls::Acme(_) => (None, None),
        };
        self.option("cert", cert);
        self.option("key", key);
        if let Tls::Acme(acme) = tls {
            self.acme(acme);
        }
    }

    fn acme(&mut self, acme: &Acme) {
        let Acme { email, directory, challenge, external_account, ca_file, renew_before } = acme;
        self.table("tls.acme");
        self.option("email", email.as_ref());
        self.set("directory", directory);
        self.set("challenge", challenge.as_str());
        let (key_id, hmac_key) = match external_account {
            Some(ExternalAccount { key_id, hmac_key }) => (Some(key_id), Some(hmac_key)),
            None => (None, None),
        };
        self.option("eab_key_id", key_id);
        self.option("eab_hmac_key", hmac_key);
        self.option("ca_file", ca_file.as_ref());
        self.or("renew_before", renew_before.as_ref(), "a third of its life");
        match challenge {
            Challenge::Dns01(Records::Hook(command)) => self.put("hook", command_line(command)),
            Challenge::Dns01(Records::Update(update)) => {
                let Rfc2136 { server, zone, key_name, algorithm, key } = update;
                self.table("tls.acme.rfc2136");
                self.set("server", server);
                self.set("zone", zone);
                self.set("key_name", key_name);
                self.set(
                    "key_algorithm",
                    match algorithm {
                        TsigAlgorithm::HmacSha256 => "hmac-sha256",
                        TsigAlgorithm::HmacSha384 => "hmac-sha384",
                        TsigAlgorithm::HmacSha512 => "hmac-sha512",
                    },
                );
                self.set("key", key);
            }
            Challenge::Http01 | Challenge::TlsAlpn01 => {}
        }
    }

    fn store(&mut self, store: &Database, spool: Option<&Path>) {
        let Database { url, connections } = store;
        self.table("store");
        match store.is_shared() {
            true => self.set("url", url),
            // The path of a file.
            false => self.set("url", url.expose()),
        }
        self.set("connections", connections);
        self.option("spool", spool.map(Path::to_owned).as_ref());
    }

    fn vault(&mut self, vault: &VaultKeys) {
        let VaultKeys { key, key_file, previous, pkcs11 } = vault;
        self.table("vault");
        self.option("key", key.as_ref());
        self.option("key_file", key_file.as_ref());
        self.put("previous_key_files", if previous.is_empty() { Shown::text("") } else { Shown::Secret });
        if let Some(Pkcs11 { module, token, key, pin }) = pkcs11 {
            self.table("vault.pkcs11");
            self.set("module", module);
            self.set("token", token);
            self.set("key", key);
            self.set("pin", pin);
        }
    }

    fn tokens(&mut self, tokens: &Tokens) {
        let Tokens { access_ttl, refresh_ttl, rotation_grace, signing_algorithm, key_rotation } = tokens;
        self.table("tokens");
        self.set("access_ttl", access_ttl);
        self.set("refresh_ttl", refresh_ttl);
        self.set("rotation_grace", rotation_grace);
        self.set(
            "signing_algorithm",
            match signing_algorithm {
                SigningAlgorithm::Es256 => "ES256",
                SigningAlgorithm::EdDsa => "EdDSA",
            },
        );
        self.or("key_rotation", key_rotation.as_ref(), "off");
    }

    fn registration(&mut self, registration: &Registration) {
        let Registration { mode, unused_ttl, client_ttl, max_clients } = registration;
        let (mode, token) = match mode {
            RegistrationMode::Open => ("open", None),
            RegistrationMode::Token(token) => ("token", Some(token)),
            RegistrationMode::Off => ("off", None),
        };
        self.table("registration");
        self.set("mode", mode);
        self.option("initial_access_token", token);
        self.set("unused_ttl", unused_ttl);
        self.or("client_ttl", client_ttl.as_ref(), "0");
        self.set("max_clients", max_clients);
    }

    fn limits(&mut self, limits: &Limits) {
        let Limits {
            per_ip,
            per_user,
            per_user_upstream,
            per_client,
            token_endpoint,
            registration,
            login,
            shared,
            memory,
            connections,
        } = limits;
        let ConnectionLimits { total, per_address, head_timeout, idle_timeout, body_timeout, body_min_rate } =
            connections;
        self.table("limits");
        self.set("per_ip", per_ip);
        self.set("per_user", per_user);
        self.set("per_user_upstream", per_user_upstream);
        self.set("per_client", per_client);
        self.set("token_endpoint", token_endpoint);
        self.set("registration", registration);
        self.set("login", login);
        self.set("shared", shared);
        self.option("memory", memory.as_ref());
        self.option("connections", total.map(|total| total.to_string()).as_ref());
        self.set("connections_per_ip", per_address);
        self.set("head_timeout", head_timeout);
        self.set("idle_timeout", idle_timeout);
        self.set("body_timeout", body_timeout);
        self.set("body_min_rate", body_min_rate);
    }

    fn streams(&mut self, streams: &Streams) {
        let Streams {
            heartbeat,
            websocket_heartbeat,
            max_duration,
            write_timeout,
            response_timeout,
            drain,
            upgrade_drain,
        } = streams;
        self.table("streams");
        self.or("heartbeat", heartbeat.as_ref(), "off");
        self.or("websocket_heartbeat", websocket_heartbeat.as_ref(), "off");
        self.or("max_duration", max_duration.as_ref(), "off");
        self.set("write_timeout", write_timeout);
        self.set("response_timeout", response_timeout);
        self.set("drain", drain);
        self.set("upgrade_drain", upgrade_drain);
    }

    fn upstreams(&mut self, upstreams: &Upstreams) {
        let Upstreams { unknown, allow_private, ca_file, max_requests } = upstreams;
        self.table("upstreams");
        self.set(
            "unknown",
            match unknown {
                Unknown::Ask => "ask",
                Unknown::Deny => "deny",
                Unknown::Allow => "allow",
            },
        );
        self.set("allow_private", allow_private);
        self.option("ca_file", ca_file.as_ref());
        self.set("max_requests", max_requests);
    }

    fn stdio(&mut self, stdio: &Stdio) {
        let Stdio { directory, max_processes, max_processes_per_upstream, max_message, launcher: _ } = stdio;
        self.table("stdio");
        self.option("directory", directory.as_ref());
        self.set("max_processes", max_processes);
        self.set("max_processes_per_upstream", max_processes_per_upstream);
        self.set("max_message", max_message);
    }

    fn unified(&mut self, unified: &Unified) {
        let Unified { enabled, prefix, list_timeout, call_timeout, max_body, meta_tools, max_sessions } = unified;
        self.table("unified");
        self.set("enabled", enabled);
        self.set(
            "prefix",
            match prefix {
                Prefixes::WhenSeveral => "when_several",
                Prefixes::Always => "always",
            },
        );
        self.set("list_timeout", list_timeout);
        self.set("call_timeout", call_timeout);
        self.set("max_body", max_body);
        self.set("meta_tools", if *meta_tools { "on" } else { "off" });
        self.set("max_sessions", max_sessions);
    }

    fn audit(&mut self, audit: &Audit) {
        let Audit { requests, keep, file } = audit;
        self.table("audit");
        self.set(
            "requests",
            match requests {
                AuditedRequests::All => "all",
                AuditedRequests::Calls => "calls",
                AuditedRequests::None => "none",
            },
        );
        self.set("keep", keep);
        self.option("file", file.as_ref());
    }

    fn telemetry(&mut self, telemetry: &Telemetry) {
        let Telemetry { json, level, otlp } = telemetry;
        self.table("telemetry");
        self.set("log_format", if *json { "json" } else { "text" });
        self.set("level", level);
        match otlp {
            Some(Otlp { endpoint, headers, sample, service_name }) => {
                self.set("otlp_endpoint", endpoint);
                self.put("otlp_headers", if headers.is_empty() { Shown::Unset } else { Shown::Secret });
                self.set("otlp_sample", sample);
                self.set("service_name", service_name);
            }
            // Without a collector nothing asks for the rest.
            None => {
                self.set("otlp_endpoint", "");
                self.option::<String>("otlp_headers", None);
                self.option::<String>("otlp_sample", None);
                self.option::<String>("service_name", None);
            }
        }
    }
}

/// A program, and how many arguments it gets: they may hold a secret.
pub(super) fn command_line(command: &[String]) -> Shown {
    match command.split_first() {
        None => Shown::Unset,
        Some((program, [])) => program.show(),
        Some((program, arguments)) => Shown::text(format!("{program} (arguments: {})", arguments.len())),
    }
}
