//! One of several gateways on one database, in this process: its doors are asked over their routers, and the journal is read
//! when a test says so.

use super::events::NODES;
use crate::app::App;
use crate::app::follow::{Bounds, Follower};
use crate::clock::Clock;
use crate::config::{Config, Rate, Source, load};
use crate::hostname::{Label, Realm};
use crate::ids::Random;
use crate::proxy::trial::Trial;
use crate::request::Arrival;
use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tower::ServiceExt;

/// Where browsers find every node.
pub(super) const PORT: u16 = 8765;
/// Longer than any order lasts: that memory is outdated is said, not waited for.
const TRUST: Duration = Duration::from_secs(3600);

pub(super) struct Node {
    pub(super) app: Arc<App>,
    pub(super) trial: Trial,
    root: Router,
    mcp: Router,
    follower: Follower,
}

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) location: String,
    pub(super) body: String,
}

impl Node {
    /// A process begins; `number` says whose disk it has.
    pub(super) async fn start(home: &Path, number: usize, clock: &Clock) -> Self {
        assert!(number < NODES);
        let config = config(home, number);
        let addresses = [SocketAddr::from(([127, 0, 0, 1], PORT))];
        let app = App::build(config, &addresses, clock.clone(), Random::default()).await.unwrap();
        let follower = Follower::after(app.position.clone(), Bounds { requests: TRUST, streams: TRUST });
        let parts = (app.site.clone(), app.registry.clone(), app.health.clone());
        let trial = Trial::new(parts, app.tokens.clone(), app.limits());
        let settings = app.settings();
        let mut node = Self { app: Arc::new(app), trial, root: settings.root, mcp: settings.mcp, follower };
        node.read_journal().await;
        node
    }

    /// Reads the journal of changes to its end.
    pub(super) async fn read_journal(&mut self) {
        self.follower.round(&self.app).await;
        assert!(self.app.tokens.freshness().is_current());
    }

    /// The same after it was found that the journal does not tell all.
    pub(super) async fn read_everything(&mut self) {
        self.follower.everything = true;
        self.read_journal().await;
        // What is read first is where the journal ends.
        self.read_journal().await;
    }

    /// As long as it may trust its memory has passed since it read the journal.
    pub(super) fn outlive_trust(&self) {
        self.app.tokens.freshness().renew(Instant::now(), Duration::ZERO);
    }

    /// Asks on the root domain.
    pub(super) async fn get(&self, path: &str, cookie: &str) -> Reply {
        let request = Request::get(path).header(header::COOKIE, cookie).body(Body::empty()).unwrap();
        self.ask(&self.root, Realm::Root, request).await
    }

    /// Submits a form of the root domain, as a browser does.
    pub(super) async fn submit(&self, path: &str, cookie: &str, form: &[(&str, &str)]) -> Reply {
        let origin = self.app.site.root_origin();
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ORIGIN, origin)
            .header("sec-fetch-site", "same-origin")
            .header(header::COOKIE, cookie);
        self.ask(&self.root, Realm::Root, request.body(Body::from(encoded(form))).unwrap()).await
    }

    /// Posts to an endpoint of an MCP hostname.
    pub(super) async fn post(&self, label: &Label, path: &str, form: &[(&str, &str)]) -> Reply {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.ask(&self.mcp, Realm::Mcp(label.clone()), request.body(Body::from(encoded(form))).unwrap()).await
    }

    /// Registers a client at an MCP hostname.
    pub(super) async fn register(&self, label: &Label, metadata: String) -> Reply {
        self.ask(&self.mcp, Realm::Mcp(label.clone()), Request::post("/register").body(Body::from(metadata)).unwrap())
            .await
    }

    async fn ask(&self, router: &Router, realm: Realm, mut request: Request<Body>) -> Reply {
        request.extensions_mut().insert(Arrival { realm, client: IpAddr::from([203, 0, 113, 7]) });
        let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let location = parts.headers.get(header::LOCATION).map_or("", |value| value.to_str().unwrap()).to_owned();
        Reply { status: parts.status, location, body }
    }
}

fn encoded(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// The defaults, without rates, with a spool for each node.
fn config(home: &Path, number: usize) -> Config {
    let environment = BTreeMap::from([
        ("XDG_STATE_HOME".to_owned(), home.display().to_string()),
        ("PORTCULLIS__UPSTREAMS__ALLOW_PRIVATE".to_owned(), "true".to_owned()),
    ]);
    let mut config = load(&Source { file: None, environment }).unwrap_or_else(|errors| panic!("{errors}"));
    config.spool = Some(home.join(format!("spool-{number}")));
    let plenty = Rate { count: 1_000_000, period: Duration::from_secs(1), burst: 1_000_000 };
    let limits = &mut config.limits;
    for rate in [
        &mut limits.per_ip,
        &mut limits.per_user,
        &mut limits.per_user_upstream,
        &mut limits.per_client,
        &mut limits.token_endpoint,
        &mut limits.registration,
    ] {
        *rate = plenty;
    }
    config
}
