//! The second step: may this caller use this upstream? The answer is a [`Permit`], and nothing goes on without one.

use super::reply::{Refusal, TokenError};
use super::route::Target;
use crate::connect::ConnectionKey;
use crate::hostname::Realm;
use crate::oauth::scheme::Scheme;
use crate::paths;
use crate::ratelimit::RateLimits;
use crate::tokens::{AccessToken, AccessTokens, Purpose, Unproven, Unverified};
use http::{HeaderMap, header};
use pingora::http::RequestHeader;
use std::sync::Arc;

/// Proof that a request carries a valid token for the hostname it was sent to, and is within its limits.
pub(super) struct Permit {
    token: Arc<AccessToken>,
    key: ConnectionKey,
}

impl Permit {
    /// The token behind it.
    pub(super) fn token(&self) -> &Arc<AccessToken> {
        &self.token
    }

    /// Which connection the request uses.
    pub(super) fn key(&self) -> &ConnectionKey {
        &self.key
    }
}

/// Proof that a request carries a valid token for where it was sent to, one of our own MCP servers, and is within its limits.
pub(super) struct Entry {
    token: Arc<AccessToken>,
    realm: Realm,
}

impl Entry {
    /// The token behind it.
    pub(super) fn token(&self) -> &Arc<AccessToken> {
        &self.token
    }

    /// Where it leads.
    pub(super) fn realm(&self) -> &Realm {
        &self.realm
    }
}

/// Admits a request (RFC 6750 §2.1: the header only; RFC 8707: the audience decides; RFC 9449 §7: a bound token comes with a
/// proof, and only such a token does).
///
/// # Errors
/// The challenge, or the limit, to answer with.
pub(super) async fn admit(
    tokens: &AccessTokens,
    limits: &RateLimits,
    target: &Target,
    request: &RequestHeader,
) -> Result<Permit, Refusal> {
    let shown = presented(&request.headers)?;
    let token = verified(tokens, shown.1).await?;
    if &*token.issuer != target.origin.as_str() || !target.is_audience(&token.audience) {
        return Err(Refusal::Unauthorized(TokenError::Invalid));
    }
    if !target.is_usable() {
        // Approval comes with the authorization flow; a token that is older than a withdrawn approval leads there again.
        return Err(Refusal::Unauthorized(TokenError::Invalid));
    }
    if !target.upstream.access.admits(token.user) {
        return Err(Refusal::NotPermitted);
    }
    limits
        .check_user(token.user)
        .and_then(|()| limits.check_user_upstream(token.user, &target.upstream.authority))
        .and_then(|()| limits.check_client(&token.client_id))
        .map_err(Refusal::Limited)?;
    possesses(tokens, &target.origin, request, (shown, &token)).await?;
    let key = ConnectionKey::upstream(token.user, target.upstream.authority.clone(), target.label.account.clone());
    Ok(Permit { token, key })
}

/// The same for an MCP hostname whose server is a program of ours: nothing is forwarded.
///
/// # Errors
/// As [`admit`].
pub(super) async fn admit_to_one(
    tokens: &AccessTokens,
    limits: &RateLimits,
    target: &Target,
    request: &RequestHeader,
) -> Result<Entry, Refusal> {
    let permit = admit(tokens, limits, target, request).await?;
    Ok(Entry { token: permit.token, realm: Realm::Mcp(target.label.clone()) })
}

/// The same for the unified endpoint of the root domain, whose origin this is. It is for everybody; what a person may not use is not in it.
///
/// # Errors
/// As [`admit`].
pub(super) async fn admit_to_all(
    tokens: &AccessTokens,
    limits: &RateLimits,
    origin: &str,
    request: &RequestHeader,
) -> Result<Entry, Refusal> {
    let shown = presented(&request.headers)?;
    let token = verified(tokens, shown.1).await?;
    // Not the whole origin: a token for the admin API is worth nothing here.
    let is_audience = token.audience.strip_prefix(origin).is_some_and(paths::is_unified);
    if &*token.issuer != origin || !is_audience {
        return Err(Refusal::Unauthorized(TokenError::Invalid));
    }
    limits.check_user(token.user).and_then(|()| limits.check_client(&token.client_id)).map_err(Refusal::Limited)?;
    possesses(tokens, origin, request, (shown, &token)).await?;
    Ok(Entry { token, realm: Realm::Root })
}

async fn verified(tokens: &AccessTokens, presented: &str) -> Result<Arc<AccessToken>, Refusal> {
    tokens.verified(presented).await.map_err(|unverified| match unverified {
        Unverified::Invalid => Refusal::Unauthorized(TokenError::Invalid),
        Unverified::Outdated(outdated) => Refusal::Outdated(outdated),
    })
}

/// Whether a token that is bound to a key came with a proof of it, and only such a token did.
async fn possesses(
    tokens: &AccessTokens,
    origin: &str,
    request: &RequestHeader,
    ((scheme, presented), token): ((Scheme, &str), &AccessToken),
) -> Result<(), Refusal> {
    match (scheme, token.confirmation.as_deref()) {
        (Scheme::Bearer, None) => Ok(()),
        (Scheme::Bearer, Some(_)) => Err(Refusal::Unauthorized(TokenError::Bound)),
        (Scheme::Dpop, None) => Err(Refusal::Unauthorized(TokenError::Invalid)),
        (Scheme::Dpop, Some(key)) => Box::pin(prove(tokens, origin, request, (presented, key))).await,
    }
}

/// Whether the caller has the key that its token is bound to. Comes last: a proof is used up by looking at it.
async fn prove(
    tokens: &AccessTokens,
    origin: &str,
    request: &RequestHeader,
    token: (&str, &str),
) -> Result<(), Refusal> {
    let url = format!("{origin}{}", request.uri.path());
    let purpose = Purpose { method: request.method.as_str(), url: &url, token: Some(token) };
    let unproven = match tokens.proofs().check(&request.headers, &purpose).await {
        Ok(Some(_)) => return Ok(()),
        Ok(None) => tokens.proofs().missing(),
        Err(unproven) => unproven,
    };
    Err(match unproven {
        Unproven::Refused { code, why, nonce } => Refusal::Unproven { error: code.as_str(), why, nonce },
        Unproven::Failed(fault) => {
            tracing::error!(%fault, "a proof of possession could not be checked");
            Refusal::Internal
        }
    })
}

/// The one token of a request.
fn presented(headers: &HeaderMap) -> Result<(Scheme, &str), Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Unauthorized(TokenError::Missing))?;
    if values.next().is_some() {
        return Err(Refusal::BadRequest("more than one Authorization header"));
    }
    let text = value.to_str().map_err(|_| Refusal::Unauthorized(TokenError::Invalid))?;
    Scheme::of(text).ok_or(Refusal::Unauthorized(TokenError::Missing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::{self, Permitted, Unknown, UpstreamAuth, UpstreamConfig, Upstreams};
    use crate::devkit::prover::Prover;
    use crate::hostname::{self, Authority, Label, Scheme as UrlScheme, Site};
    use crate::ids::{GrantId, Random, UserId};
    use crate::jose::SigningAlgorithm;
    use crate::ratelimit::tests::plenty;
    use crate::store::{Role, Store, User};
    use crate::tokens::{NewToken, SigningKeys};
    use crate::upstream::{Destinations, HealthTable, Registry};
    use crate::vault::Vault;
    use http::HeaderValue;
    use std::time::Duration;

    const ROOT: &str = "https://gw.example";
    const NOTES: &str = "https://notes.gw.example";
    const FILES: &str = "https://files.gw.example";

    /// In front of `notes`, which is for everybody, and `files`, which is for nobody.
    struct Gate {
        tokens: AccessTokens,
        limits: RateLimits,
        destinations: Destinations,
        clock: Clock,
        user: User,
        random: Random,
    }

    impl Gate {
        async fn new() -> Self {
            let (clock, random, site) =
                (Clock::standing(), Random::default(), Site::new("gw.example", UrlScheme::Https, 443));
            let store = Store::open("sqlite::memory:").await.unwrap();
            let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
            let day = Duration::from_secs(24 * 3600);
            let lives = config::Tokens {
                access_ttl: day,
                refresh_ttl: day,
                rotation_grace: Duration::ZERO,
                signing_algorithm: SigningAlgorithm::EdDsa,
                key_rotation: None,
            };
            let keys = SigningKeys::load(store.clone(), vault, clock.clone(), random.clone(), &lives).await.unwrap();
            let policy = Upstreams { unknown: Unknown::Ask, allow_private: false, ca_file: None, max_requests: 1024 };
            let upstreams = vec![upstream("notes", None), upstream("files", Some(Permitted::default()))];
            let registry = Arc::new(Registry::new(&policy, upstreams, site.clone(), store).await.unwrap());
            let user = User {
                id: UserId::random(&random),
                name: "alice".into(),
                password_hash: None,
                email: None,
                role: Role::Member,
                disabled: false,
                created_at: clock.now(),
            };
            Self {
                tokens: AccessTokens::new(Arc::new(keys), Arc::default(), clock.clone(), random.clone()),
                limits: RateLimits::new(&plenty()),
                destinations: Destinations::new(site, registry, HealthTable::new(clock.clone(), random.clone(), 10)),
                clock,
                user,
                random,
            }
        }

        fn target(&self, label: Label) -> Arc<Target> {
            self.destinations.of(label).unwrap()
        }

        fn named(&self, name: &str) -> Arc<Target> {
            self.target(Label::parse(name).unwrap())
        }

        fn token(&self, issuer: &str, resource: &str, confirmation: Option<&str>) -> String {
            let (user, grant, ttl) = (&self.user, GrantId::random(&self.random), Duration::from_secs(100));
            let new =
                NewToken { issuer, resource, user, client_id: "c", scope: "", grant, ttl, actor: None, confirmation };
            self.tokens.mint(&new).unwrap()
        }

        async fn admits(&self, target: &Target, request: &RequestHeader) -> &'static str {
            said(&admit(&self.tokens, &self.limits, target, request).await.map(|permit| {
                assert_eq!((permit.key().user, permit.token().user), (self.user.id, self.user.id));
            }))
        }
    }

    fn upstream(name: &str, allowed: Option<Permitted>) -> UpstreamConfig {
        UpstreamConfig {
            authority: Authority::parse(&format!("{name}.example")).unwrap(),
            name: None,
            alias: Some(name.to_owned()),
            kind: Default::default(),
            path: None,
            auth: UpstreamAuth::None,
            allow_private: None,
            tools: None,
            allowed,
        }
    }

    fn request(authorization: &str, proof: Option<&str>) -> RequestHeader {
        let mut request = RequestHeader::build("POST", b"/mcp", None).unwrap();
        request.insert_header("authorization", authorization).unwrap();
        if let Some(proof) = proof {
            request.insert_header("dpop", proof).unwrap();
        }
        request
    }

    fn said<T>(outcome: &Result<T, Refusal>) -> &'static str {
        match outcome {
            Ok(_) => "admitted",
            Err(Refusal::Unauthorized(TokenError::Invalid)) => "invalid",
            Err(Refusal::Unauthorized(TokenError::Bound)) => "bound",
            Err(Refusal::NotPermitted) => "not permitted",
            Err(Refusal::Unproven { .. }) => "unproven",
            Err(_) => "something else",
        }
    }

    #[tokio::test]
    async fn a_token_opens_what_it_was_made_for_to_whom_it_is_permitted_and_nothing_else() {
        let gate = Gate::new().await;
        let (notes, files) = (gate.named("notes"), gate.named("files"));
        let undecided = hostname::Target::Encoded(Authority::parse("other.example").unwrap());
        let undecided = gate.target(Label { account: None, target: undecided });
        let elsewhere = undecided.origin.clone();
        for (target, issuer, audience, expected) in [
            (&notes, NOTES, NOTES, "admitted"),
            (&notes, FILES, NOTES, "invalid"),
            (&notes, NOTES, FILES, "invalid"),
            (&files, FILES, FILES, "not permitted"),
            (&undecided, &elsewhere, &elsewhere, "invalid"),
        ] {
            let token = gate.token(issuer, &format!("{audience}/mcp"), None);
            let outcome = gate.admits(target, &request(&format!("Bearer {token}"), None)).await;
            assert_eq!(outcome, expected, "{} with {issuer} and {audience}", target.origin);
        }
        for (issuer, audience, expected) in [
            (ROOT, "https://gw.example/mcp", "admitted"),
            (ROOT, "https://gw.example/api/v1", "invalid"),
            (ROOT, "https://notes.gw.example/mcp", "invalid"),
            (NOTES, "https://gw.example/mcp", "invalid"),
        ] {
            let bearer = format!("Bearer {}", gate.token(issuer, audience, None));
            let outcome = admit_to_all(&gate.tokens, &gate.limits, ROOT, &request(&bearer, None)).await;
            assert_eq!(said(&outcome), expected, "all with {issuer} and {audience}");
        }
    }

    /// Security case B 47.
    #[tokio::test]
    async fn b47_a_bound_token_opens_only_with_a_proof_and_only_a_bound_one_does() {
        let (gate, prover) = (Gate::new().await, Prover::new().unwrap());
        let (notes, url) = (gate.named("notes"), format!("{NOTES}/mcp"));
        let bound = gate.token(NOTES, &url, Some(&prover.thumbprint()));
        let proof = prover.proof("POST", &url, Some(&bound), gate.clock.now());
        let free = gate.token(NOTES, &url, None);
        for (authorization, proof, expected) in [
            (format!("Bearer {bound}"), Some(&proof), "bound"),
            (format!("DPoP {bound}"), None, "unproven"),
            (format!("DPoP {bound}"), Some(&proof), "admitted"),
            (format!("DPoP {bound}"), Some(&proof), "unproven"),
            (format!("DPoP {free}"), Some(&proof), "invalid"),
            (format!("Bearer {free}"), None, "admitted"),
        ] {
            let outcome = gate.admits(&notes, &request(&authorization, proof.map(String::as_str))).await;
            assert_eq!(outcome, expected, "{} {}", &authorization[..6], proof.is_some());
        }
    }

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_one_token_in_the_header_counts() {
        assert_eq!(presented(&headers(&["Bearer abc"])).ok(), Some((Scheme::Bearer, "abc")));
        assert_eq!(presented(&headers(&["bEARER  abc"])).ok(), Some((Scheme::Bearer, "abc")));
        assert_eq!(presented(&headers(&["DPoP abc"])).ok(), Some((Scheme::Dpop, "abc")));
        assert!(matches!(presented(&headers(&[])), Err(Refusal::Unauthorized(TokenError::Missing))));
        assert!(matches!(presented(&headers(&["Basic abc"])), Err(Refusal::Unauthorized(TokenError::Missing))));
        assert!(matches!(presented(&headers(&["Bearer"])), Err(Refusal::Unauthorized(TokenError::Missing))));
        assert!(matches!(presented(&headers(&["Bearer a", "Bearer b"])), Err(Refusal::BadRequest(_))));
    }
}
