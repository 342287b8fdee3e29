//! The tables that there may be several of: sign-in providers, upstreams, services, providers.

use super::Out;
use super::shown::Shown;
use crate::config::provider::{Challenges, Clients, Provider, Redirects, Registration, Resource, Rotation};
use crate::config::{
    Command, GitHubLogin, Kind, Login, OAuthSettings, OidcLogin, Permitted, PersonalHeader, SecondFactor, Service,
    ServiceClient, SessionLives, Sharing, Transport, UpstreamAuth, UpstreamConfig,
};
use crate::oauth::quirks::{Quirks, Revocation, TokenBody};

impl Out<'_> {
    pub(super) fn login(&mut self, login: &Login) {
        let Login { password, local, github, oidc, sessions, second_factor } = login;
        let SessionLives { idle, ttl } = sessions;
        self.table("login");
        self.set("password", password);
        self.set(
            "second_factor",
            match second_factor {
                SecondFactor::Optional => "optional",
                SecondFactor::Required => "required",
            },
        );
        self.set("session_idle", idle);
        self.set("session_ttl", ttl);
        if let Some((user, password)) = local {
            self.set("LOCAL_USER", user);
            self.set("LOCAL_PASSWORD", password);
        }
        if let Some(github) = github {
            self.github(github);
        }
        for (number, oidc) in oidc.iter().enumerate() {
            self.oidc(number, oidc);
        }
    }

    fn github(&mut self, github: &GitHubLogin) {
        let GitHubLogin {
            client_id,
            client_secret,
            allowed_users,
            allowed_orgs,
            admin_users,
            url,
            api_url,
            allow_private,
        } = github;
        self.table("login.github");
        self.set("client_id", client_id);
        self.set("client_secret", client_secret);
        self.set("allowed_users", allowed_users);
        self.set("allowed_orgs", allowed_orgs);
        self.set("admin_users", admin_users);
        self.set("url", url);
        self.set("api_url", api_url);
        self.set("allow_private", allow_private);
    }

    fn oidc(&mut self, number: usize, oidc: &OidcLogin) {
        let OidcLogin {
            name,
            label,
            issuer,
            client_id,
            client_secret,
            scopes,
            allowed_domains,
            allowed_groups,
            admin_groups,
            groups_claim,
            id_jag,
            allow_private,
        } = oidc;
        self.table(format!("login.oidc[{number}]"));
        self.set("name", name);
        self.set("label", label);
        self.set("issuer", issuer);
        self.set("client_id", client_id);
        self.option("client_secret", client_secret.as_ref());
        self.set("scopes", scopes);
        self.option("allowed_domains", allowed_domains.as_ref());
        self.option("allowed_groups", allowed_groups.as_ref());
        self.set("admin_groups", admin_groups);
        self.set("groups_claim", groups_claim);
        self.set("id_jag", id_jag);
        self.set("allow_private", allow_private);
    }

    pub(super) fn each_upstream(&mut self, upstreams: &[UpstreamConfig]) {
        for (number, upstream) in upstreams.iter().enumerate() {
            let UpstreamConfig { authority, name, alias, kind, path, auth, allow_private, tools, allowed } = upstream;
            self.table(format!("upstream[{number}]"));
            match kind {
                Kind::Http { transport } => {
                    self.set("domain", authority.as_str());
                    self.set("transport", transport_word(*transport));
                    self.option("path", path.as_ref());
                    self.or("allow_private", allow_private.as_ref(), "as upstreams.allow_private");
                    self.auth(auth);
                }
                Kind::Stdio(command) => self.command(command),
            }
            self.option("name", name.as_ref());
            self.option("alias", alias.as_ref());
            let (users, groups) = match allowed {
                Some(Permitted { users, groups }) => (Some(users), Some(groups)),
                None => (None, None),
            };
            self.or("allow_users", users, "everybody");
            self.or("allow_groups", groups, "everybody");
            let (allow, deny) =
                (tools.as_ref().and_then(|tools| tools.allow().first()), tools.as_ref().map(|tools| tools.deny()));
            self.put("tools.allow", allow.map_or(Shown::Unset, Shown::list));
            self.put("tools.deny", deny.map_or(Shown::Unset, Shown::list));
        }
    }

    fn command(&mut self, command: &Command) {
        let Command { program, args, search_path: _, env, secrets, personal_env, cwd, processes, idle, memory } =
            command;
        self.set("command", program);
        // They may hold a secret, and so may variables.
        self.put("args", if args.is_empty() { Shown::text("") } else { Shown::text(args.len().to_string()) });
        self.put("env", Shown::list(env.iter().map(|(name, _)| name)));
        self.put("env_files", Shown::list(secrets.iter().map(|(name, _)| name)));
        self.set("personal_env", personal_env);
        self.option("cwd", cwd.as_ref());
        self.set(
            "processes",
            match processes {
                Sharing::Person => "person",
                Sharing::Everybody => "shared",
            },
        );
        self.or("idle", idle.as_ref(), "off");
        self.or("memory", memory.as_ref(), "off");
    }

    fn auth(&mut self, auth: &UpstreamAuth) {
        match auth {
            UpstreamAuth::None => self.set("auth", "none"),
            UpstreamAuth::Header { name, value } => {
                self.set("auth", "header");
                self.set("header", name);
                self.set("value", value);
            }
            UpstreamAuth::Personal(PersonalHeader { name, prefix }) => {
                self.set("auth", "header");
                self.set("header", name);
                self.set("personal", &true);
                self.set("prefix", prefix);
            }
            UpstreamAuth::OAuth(settings) => {
                let OAuthSettings {
                    issuer,
                    authorization_endpoint,
                    token_endpoint,
                    client_id,
                    client_secret,
                    scopes,
                    resource,
                } = &**settings;
                self.set("auth", "oauth");
                self.option("issuer", issuer.as_ref());
                self.option("authorization_endpoint", authorization_endpoint.as_ref());
                self.option("token_endpoint", token_endpoint.as_ref());
                self.option("client_id", client_id.as_ref());
                self.option("client_secret", client_secret.as_ref());
                self.option("scopes", scopes.as_ref());
                self.option("resource", resource.as_ref());
            }
        }
    }

    pub(super) fn services(&mut self, services: &[Service]) {
        for (number, service) in services.iter().enumerate() {
            let Service { name, label, client, pat, allow_private } = service;
            self.table(format!("service[{number}]"));
            self.set("name", name.as_str());
            self.set("label", label);
            self.option("pat", pat.as_ref());
            self.set("allow_private", allow_private);
            let Some(client) = client else { continue };
            let ServiceClient {
                issuer,
                authorization_endpoint,
                token_endpoint,
                revocation_endpoint,
                client_id,
                client_secret,
                scopes,
                quirks,
            } = client;
            self.option("issuer", issuer.as_ref());
            self.set("authorization_endpoint", authorization_endpoint);
            self.set("token_endpoint", token_endpoint);
            self.option("revocation_endpoint", revocation_endpoint.as_ref());
            self.set("client_id", client_id);
            self.option("client_secret", client_secret.as_ref());
            self.set("scopes", &scopes.to_string());
            self.quirks(quirks);
        }
    }

    pub(super) fn providers(&mut self, providers: &[Provider]) {
        for (number, provider) in providers.iter().enumerate() {
            let Provider {
                id,
                name,
                hosts,
                path,
                registration,
                redirects,
                clients,
                register_at,
                resource,
                scopes,
                needs_scopes,
                offline_access,
                challenges,
                rotation,
                quirks,
                advice,
                notes,
            } = provider;
            self.table(format!("provider[{number}]"));
            self.set("id", id);
            self.set("name", name);
            self.put("hosts", Shown::list(hosts));
            self.option("path", path.as_ref());
            self.set("registration", registration_word(*registration));
            self.set("redirects", redirects_word(*redirects));
            self.set(
                "clients",
                match clients {
                    Clients::Any => "any",
                    Clients::Named => "named",
                },
            );
            self.option("register_at", register_at.as_ref());
            self.set(
                "resource",
                match resource {
                    Resource::AsStated => "as-stated",
                    Resource::Never => "never",
                    Resource::Fixed(resource) => resource,
                },
            );
            self.set("scopes", &scopes.to_string());
            self.set("needs_scopes", needs_scopes);
            self.set("offline_access", offline_access);
            self.set(
                "challenges",
                match challenges {
                    Challenges::AtOnce => "at-once",
                    Challenges::OnCalls => "on-calls",
                },
            );
            let (rotation, grace) = match rotation {
                Rotation::Unknown => ("unknown", None),
                Rotation::Keeps => ("keeps", None),
                Rotation::Rotates { grace } => ("rotates", grace.as_ref()),
                Rotation::Strict => ("strict", None),
            };
            self.set("rotation", rotation);
            self.option("rotation_grace", grace);
            self.option("advice", advice.as_ref());
            self.put("note", Shown::list(notes.iter().map(|note| &note.text)));
            self.quirks(quirks);
        }
    }

    fn quirks(&mut self, quirks: &Quirks) {
        let Quirks {
            // Follows from `resource`.
            takes_resource: _,
            authorize,
            scope_parameter,
            scope_separator,
            granted_scope_separator,
            all_or_nothing,
            implied_scopes,
            pkce,
            token_member,
            token_life,
            checks_token_type,
            auth_method,
            token_body,
            headers,
            ended,
            revocation,
        } = quirks;
        self.option("auth_method", auth_method.as_ref());
        self.put("authorize", Shown::list(authorize.iter().map(|(name, value)| format!("{name}={value}"))));
        self.set("scope_parameter", scope_parameter);
        self.set("scope_separator", scope_separator);
        self.option("granted_scope_separator", granted_scope_separator.as_ref());
        let implied = implied_scopes.iter().map(|(scope, all)| format!("{scope}={all}"));
        self.put("implied_scopes", Shown::list(implied));
        self.set("all_or_nothing", all_or_nothing);
        self.set("pkce", pkce);
        self.set(
            "token_body",
            match token_body {
                TokenBody::Form => "form",
                TokenBody::Json => "json",
            },
        );
        self.option("token_member", token_member.as_ref());
        self.option("token_life", token_life.as_ref());
        self.set("token_type", if *checks_token_type { "bearer" } else { "any" });
        // Values may be secret.
        self.put("headers", Shown::list(headers.iter().map(|(name, _)| name)));
        self.set("ended", ended);
        self.set(
            "revocation",
            match revocation {
                Revocation::Rfc7009 => "rfc7009",
                Revocation::Json => "json",
                Revocation::GitHub => "github",
                Revocation::Token => "token",
                Revocation::Bearer => "bearer",
            },
        );
    }
}

fn transport_word(transport: Transport) -> &'static str {
    match transport {
        Transport::Auto => "auto",
        Transport::StreamableHttp => "http",
        Transport::Sse => "sse",
        Transport::WebSocket => "websocket",
    }
}

fn registration_word(registration: Registration) -> &'static str {
    match registration {
        Registration::Dynamic => "dynamic",
        Registration::Documents => "documents",
        Registration::DynamicAndDocuments => "dynamic-and-documents",
        Registration::Preregistered => "preregistered",
        Registration::None => "none",
        Registration::Unknown => "unknown",
    }
}

fn redirects_word(redirects: Redirects) -> &'static str {
    match redirects {
        Redirects::Any => "any",
        Redirects::Allowlist => "allowlist",
        Redirects::LoopbackOnly => "loopback",
        Redirects::Fixed => "fixed",
    }
}
