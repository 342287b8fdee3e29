//! Rate limits: token buckets (GCRA, by governor) for addresses, people, clients and endpoints. However many different
//! keys turn up, the memory of a limit is bounded: [`buckets`] says how.

mod buckets;
mod shared;
#[cfg(test)]
pub(crate) mod tests;

use crate::config::{Limits, Rate};
use crate::hostname::Authority;
use crate::ids::{Digest, UserId};
use crate::telemetry::Metrics;
use buckets::Buckets;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::{Quota, RateLimiter};
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use prometheus_client::metrics::counter::Counter;
use shared::Keys;
pub use shared::SETTLE_EVERY;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// `RateLimit`, draft-ietf-httpapi-ratelimit-headers §4.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// `RateLimit-Policy`, draft-ietf-httpapi-ratelimit-headers §3.
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// All limits of the configuration. Shared behind an `Arc`; a check takes a short lock and allocates nothing once its
/// key is known. Only tests use another clock than governor's own.
pub struct RateLimits<C: Clock = DefaultClock> {
    per_ip: Arc<Limiter<C>>,
    per_user: Arc<Limiter<C>>,
    per_user_upstream: Arc<Limiter<C>>,
    per_client: Arc<Limiter<C>>,
    token_endpoint: Arc<Limiter<C>>,
    registration: Arc<Limiter<C>>,
    login: Arc<Limiter<C>>,
    login_name: Arc<Limiter<C>>,
    /// Keys are hashed under a secret key: nobody outside can make two of them collide.
    hasher: Keys,
}

/// A limit was reached; nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// When the next attempt will be let through, if nobody else takes its place.
    pub retry_after: Duration,
    /// Which limit, by its name in the configuration.
    pub policy: &'static str,
    /// How many at once.
    pub burst: u32,
    /// How long an exhausted bucket takes to fill up again.
    pub window: Duration,
}

impl RateLimits {
    /// The limits of the configuration, in real time.
    pub fn new(limits: &Limits) -> Self {
        Self::with_clock(limits, DefaultClock::default())
    }
}

impl<C: Clock + Clone> RateLimits<C> {
    /// The limits of the configuration, in the time of `clock`.
    pub fn with_clock(limits: &Limits, clock: C) -> Self {
        let limiter = |policy, rate| Arc::new(Limiter::new(policy, rate, clock.clone()));
        Self {
            per_ip: limiter("per_ip", limits.per_ip),
            per_user: limiter("per_user", limits.per_user),
            per_user_upstream: limiter("per_user_upstream", limits.per_user_upstream),
            per_client: limiter("per_client", limits.per_client),
            token_endpoint: limiter("token_endpoint", limits.token_endpoint),
            registration: limiter("registration", limits.registration),
            login: limiter("login", limits.login),
            login_name: limiter("login", limits.login),
            hasher: Keys::default(),
        }
    }

    /// The same limits with other rates. Who has used up what stays known where the rate is the same.
    pub fn with_rates(&self, limits: &Limits) -> Self {
        let limiter = |old: &Arc<Limiter<C>>, rate| match old.rate == rate {
            true => old.clone(),
            false => {
                let limiter = Limiter::new(old.policy, rate, old.buckets.clock().clone());
                Arc::new(Limiter { refused: old.refused.clone(), ..limiter })
            }
        };
        Self {
            per_ip: limiter(&self.per_ip, limits.per_ip),
            per_user: limiter(&self.per_user, limits.per_user),
            per_user_upstream: limiter(&self.per_user_upstream, limits.per_user_upstream),
            per_client: limiter(&self.per_client, limits.per_client),
            token_endpoint: limiter(&self.token_endpoint, limits.token_endpoint),
            registration: limiter(&self.registration, limits.registration),
            login: limiter(&self.login, limits.login),
            login_name: limiter(&self.login_name, limits.login),
            hasher: self.hasher.clone(),
        }
    }

    /// Counts what is refused from now on; for limits that nobody shares yet.
    pub fn counted(mut self, metrics: &Metrics) -> Self {
        for limiter in [
            &mut self.per_ip,
            &mut self.per_user,
            &mut self.per_user_upstream,
            &mut self.per_client,
            &mut self.token_endpoint,
            &mut self.registration,
            &mut self.login,
            &mut self.login_name,
        ] {
            if let Some(limiter) = Arc::get_mut(limiter) {
                limiter.refused = metrics.limited(limiter.policy);
            }
        }
        self
    }

    /// Any request from an address, before authentication.
    ///
    /// # Errors
    /// [`Limited`], like every other check here.
    pub fn check_ip(&self, address: IpAddr) -> Result<(), Limited> {
        self.per_ip.check(self.address(address))
    }

    /// Any request of a person.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn check_user(&self, user: UserId) -> Result<(), Limited> {
        self.per_user.check(self.hasher.hash_one(user))
    }

    /// A person's request to one upstream.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn check_user_upstream(&self, user: UserId, upstream: &Authority) -> Result<(), Limited> {
        self.per_user_upstream.check(self.hasher.hash_one((user, upstream)))
    }

    /// A request of an OAuth client, by `client_id`.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn check_client(&self, client_id: &str) -> Result<(), Limited> {
        self.per_client.check(self.hasher.hash_one(client_id))
    }

    /// A request to `/token`.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn check_token_endpoint(&self, address: IpAddr) -> Result<(), Limited> {
        self.token_endpoint.check(self.address(address))
    }

    /// A request to `/register`.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn check_registration(&self, address: IpAddr) -> Result<(), Limited> {
        self.registration.check(self.address(address))
    }

    /// An attempt to sign in: limited by address, and by name in any letter case, so that neither one machine nor many
    /// can guess a password.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn check_login(&self, address: IpAddr, name: &str) -> Result<(), Limited> {
        self.login.check(self.address(address))?;
        let mut hasher = self.hasher.build_hasher();
        name.bytes().for_each(|byte| byte.to_ascii_lowercase().hash(&mut hasher));
        self.login_name.check(hasher.finish())
    }

    /// A user code of a device that somebody types: limited like sign-in, by address and by session.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn check_user_code(&self, address: IpAddr, session: &Digest) -> Result<(), Limited> {
        self.login.check(self.address(address))?;
        self.login_name.check(self.hasher.hash_one(("user code", session)))
    }

    /// An attempt to sign in that names nobody: limited by address.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn check_nameless_login(&self, address: IpAddr) -> Result<(), Limited> {
        self.login.check(self.address(address))
    }

    /// Gives back the memory of keys that have not been seen for long; the housekeeping's business. Without it memory is
    /// bounded all the same.
    pub fn sweep(&self) {
        self.all().into_iter().for_each(|limiter| limiter.buckets.retain_recent());
    }

    /// In an order that is the same at every node, whatever version it runs.
    fn all(&self) -> [&Limiter<C>; 8] {
        [
            &self.per_ip,
            &self.per_user,
            &self.per_user_upstream,
            &self.per_client,
            &self.token_endpoint,
            &self.registration,
            &self.login,
            &self.login_name,
        ]
    }

    /// An IPv6 customer has a /64 at least, so it counts as one; IPv4 in its mapped form is IPv4.
    fn address(&self, address: IpAddr) -> u64 {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.hasher.hash_one((4u8, v4.to_bits())),
            IpAddr::V6(v6) => self.hasher.hash_one((6u8, v6.to_bits() >> 64)),
        }
    }
}

impl Limited {
    /// Sets `Retry-After` (RFC 9110 §10.2.3), `RateLimit` and `RateLimit-Policy`, in whole seconds rounded up.
    pub fn write(&self, headers: &mut HeaderMap) {
        let (policy, seconds) = (self.policy, seconds(self.retry_after));
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        for (name, value) in [
            (RATE_LIMIT, format!("\"{policy}\";r=0;t={seconds}")),
            (RATE_LIMIT_POLICY, format!("\"{policy}\";q={};w={}", self.burst, self::seconds(self.window))),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

fn seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

/// One limit over many keys.
struct Limiter<C: Clock> {
    policy: &'static str,
    rate: Rate,
    burst: u32,
    window: Duration,
    /// The time that one pass stands for.
    interval: Duration,
    began: C::Instant,
    /// How many were refused.
    refused: Counter,
    /// The same buckets as those of `buckets`.
    state: Buckets,
    buckets: RateLimiter<u64, Buckets, C, NoOpMiddleware<C::Instant>>,
}

impl<C: Clock> Limiter<C> {
    fn new(policy: &'static str, rate: Rate, clock: C) -> Self {
        let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
        let interval = (rate.period / rate.count.max(1)).max(Duration::from_nanos(1));
        let quota = Quota::with_period(interval).unwrap_or(Quota::per_second(burst)).allow_burst(burst);
        let state = Buckets::new(interval);
        Self {
            policy,
            rate,
            burst: burst.get(),
            window: interval.saturating_mul(burst.get()),
            interval,
            began: clock.now(),
            refused: Counter::default(),
            state: state.clone(),
            buckets: RateLimiter::new(quota, state, clock),
        }
    }

    fn check(&self, key: u64) -> Result<(), Limited> {
        self.buckets.check_key(&key).map_err(|until| {
            self.refused.inc();
            Limited {
                retry_after: until.wait_time_from(self.buckets.clock().now()),
                policy: self.policy,
                burst: self.burst,
                window: self.window,
            }
        })
    }
}
