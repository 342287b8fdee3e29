//! A gateway as the world sees it: at `https://gw.test`, port 443, a public address. A front on this machine plays that address,
//! terminates TLS and passes requests on to a real gateway, with or without mischief.

use super::front::{Front, Mischief};
use crate::gateway::{Gateway, label, upstream};
use portcullis::clock::Clock;
use portcullis::config::UpstreamAuth;
use portcullis::doctor::{Report, Rules, Tools, examine};
use portcullis::hostname::Scheme;
use portcullis::http::Resolver;
use portcullis::ids::Random;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use tempfile::TempDir;

pub const DOMAIN: &str = "gw.test";
/// Public, and played by the front.
pub const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 215, 14));
pub const PUBLIC_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0, 0x1111));
/// Private, and played by the front too.
pub const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
/// An upstream that the gateway knows and never asks.
const UPSTREAM: &str = "mcp.example";

/// The clients, in the order in which expectations are written.
pub const CLIENTS: [&str; 5] = ["claude", "claude-code", "chatgpt", "cursor", "vscode"];

/// What the front shows in TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shows {
    #[default]
    Good,
    Expired,
    OtherName,
    /// Without the certificate of the authority in between.
    LeafOnly,
    SelfSigned,
    /// Plain http.
    NoTls,
}

/// A set-up.
pub struct Setup {
    pub names: Vec<(&'static str, Vec<IpAddr>)>,
    pub shows: Shows,
    pub mischief: Vec<Mischief>,
    /// Whether anybody listens.
    pub open: bool,
    /// The bare domain instead of the URL of a server behind it.
    pub bare: bool,
    /// How many times shorter the limits of clients are.
    pub hurry: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            names: vec![(DOMAIN, vec![PUBLIC]), ("*.gw.test", vec![PUBLIC]), ("auth.test", vec![PUBLIC])],
            shows: Shows::Good,
            mischief: Vec::new(),
            open: true,
            bare: false,
            hurry: 1,
        }
    }
}

impl Setup {
    pub fn with(mischief: Mischief) -> Self {
        Self { mischief: vec![mischief], ..Self::default() }
    }

    pub fn showing(shows: Shows) -> Self {
        Self { shows, ..Self::default() }
    }

    pub fn leading(names: &[(&'static str, &[IpAddr])]) -> Self {
        let names = names.iter().map(|(name, addresses)| (*name, addresses.to_vec())).collect();
        Self { names, ..Self::default() }
    }

    /// What the doctor says.
    pub async fn examined(self) -> Report {
        let gateway = Gateway::with(|config| {
            config.server.domain = DOMAIN.to_owned();
            config.server.public = Some((Scheme::Https, 443));
            config.upstream.push(upstream(UPSTREAM, UpstreamAuth::OAuth(Box::default())));
            crate::visitors::without_limits(config);
        })
        .await;
        let certificates = Certificates::new();
        let mut front = Front::start(gateway.port(), certificates.shown(self.shows), self.mischief).await;
        let socket = SocketAddr::from((Ipv4Addr::LOCALHOST, front.port));
        if !self.open {
            front.stop().await;
        }
        let played = [PUBLIC, PUBLIC_V6, PRIVATE].map(|address| (address, socket));
        let names: HashMap<_, _> = self.names.into_iter().map(|(name, list)| (name.to_owned(), list)).collect();
        let resolver = Resolver::staged(names, played.into());
        let tools = Tools::new(resolver, Some(&certificates.file), Clock::system(), Random::default()).unwrap();
        let tools = tools.with_private_addresses(true).in_a_hurry(self.hurry);
        let target = if self.bare { DOMAIN.to_owned() } else { format!("https://{}/mcp", hostname()) };
        let clients: Vec<&'static Rules> = CLIENTS.iter().map(|id| Rules::find(id).unwrap()).collect();
        let report = examine(&target.parse().unwrap(), &clients, &tools).await;
        gateway.stop().await;
        report
    }

    /// Which check each client fails at; nothing for those that connect.
    pub async fn fails_at(self, expected: [&str; 5]) -> Report {
        let report = self.examined().await;
        let found = report.clients.iter().map(|client| client.first_failure.map_or("", |check| check.id()));
        assert_eq!(found.collect::<Vec<_>>(), expected, "\n{}", told(&report));
        for step in report.clients.iter().filter_map(|client| client.failed_step()) {
            let words = [&step.explanation, &step.fix].map(|text| text.clone().unwrap_or_default());
            assert!(words.iter().all(|text| !text.is_empty() && !text.contains('{')), "{step:?}");
        }
        report
    }
}

/// Of the server behind the gateway.
pub fn hostname() -> String {
    format!("{}.{DOMAIN}", label(UPSTREAM))
}

/// A report in lines, for tests that fail.
pub fn told(report: &Report) -> String {
    let mut text = String::new();
    for client in &report.clients {
        text.push_str(&format!("{}\n", client.name));
        for step in &client.steps {
            text.push_str(&format!("  {:?} {} {:?} {}\n", step.outcome, step.id.id(), step.cause, step.evidence));
        }
    }
    text
}

/// A chain and its key, as a server shows them.
pub struct Shown {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// A root that clients trust, and an authority below it that signs.
struct Certificates {
    intermediate: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
    _directory: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let authority = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let intermediate = CertifiedIssuer::signed_by(authority("between"), key, &root).unwrap();
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("root.pem");
        std::fs::write(&file, root.pem()).unwrap();
        Self { intermediate, file, _directory: directory }
    }

    fn shown(&self, shows: Shows) -> Option<Shown> {
        let names = match shows {
            Shows::OtherName => vec!["other.test".to_owned()],
            _ => vec![DOMAIN.to_owned(), format!("*.{DOMAIN}"), "auth.test".to_owned()],
        };
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "server");
        if shows == Shows::Expired {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let leaf = match shows {
            Shows::NoTls => return None,
            Shows::SelfSigned => params.self_signed(&key).unwrap(),
            _ => params.signed_by(&key, &self.intermediate).unwrap(),
        };
        let mut chain = vec![leaf.der().clone()];
        if !matches!(shows, Shows::LeafOnly | Shows::SelfSigned) {
            chain.push(self.intermediate.der().clone());
        }
        Some(Shown { chain, key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() })
    }
}
