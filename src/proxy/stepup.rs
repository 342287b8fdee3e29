//! An upstream's 403 that asks for more scope becomes ours (DESIGN 1.6): its body as it is, with a challenge that leads to
//! our authorization server.

use super::admit::Permit;
use super::route::Target;
use crate::connect::{Connections, Credential, StepUp};
use crate::oauth::challenge::BearerChallenge;
use crate::paths;
use http::{HeaderValue, header};
use pingora::http::ResponseHeader;

const INSUFFICIENT: &str = "insufficient_scope";

/// The challenge to put on an upstream's 403 in place of its own; `None`: it needs none. `path` is the caller's.
pub(super) async fn challenge(
    connections: &Connections,
    (target, permit, path): (&Target, &Permit, &str),
    credential: &Credential,
    response: &ResponseHeader,
) -> Option<HeaderValue> {
    let theirs = demand(response)?;
    let ours = BearerChallenge {
        resource_metadata: Some(format!("{}{}", target.origin, paths::inserted(paths::PROTECTED_RESOURCE, path))),
        ..BearerChallenge::default()
    };
    let challenge = match connections.step_up(permit.key(), credential, &theirs).await {
        Ok(StepUp::Ask(scopes)) => BearerChallenge {
            scope: Some(scopes.to_string()).filter(|scope| !scope.is_empty()),
            error: Some(INSUFFICIENT.to_owned()),
            error_description: Some("The upstream asks for more scope: authorize again".to_owned()),
            ..ours
        },
        // Without the error code, which is what makes clients ask again.
        Ok(StepUp::Final) => BearerChallenge {
            error_description: Some("The upstream refuses, and asking for more scope did not help".to_owned()),
            ..ours
        },
        Err(fault) => {
            tracing::error!(target = %permit.key().target, %fault, "a step-up could not be written down");
            ours
        }
    };
    let is_bound = permit.token().confirmation.is_some();
    HeaderValue::try_from(if is_bound { challenge.for_dpop() } else { challenge.to_string() }).ok()
}

/// The challenge of a 403 for want of scope (RFC 6750 §3.1).
fn demand(response: &ResponseHeader) -> Option<BearerChallenge> {
    let values = response.headers.get_all(header::WWW_AUTHENTICATE).iter();
    let mut challenges = values.filter_map(|value| BearerChallenge::parse(value.to_str().ok()?));
    challenges.find(|challenge| challenge.error.as_deref() == Some(INSUFFICIENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(challenges: &[&str]) -> ResponseHeader {
        let mut head = ResponseHeader::build(403, None).unwrap();
        for challenge in challenges {
            head.append_header(header::WWW_AUTHENTICATE, *challenge).unwrap();
        }
        head
    }

    #[test]
    fn only_want_of_scope_is_a_demand() {
        let scope = r#"Bearer error="insufficient_scope", scope="a b", resource_metadata="https://up.example/x""#;
        for other in [
            &[][..],
            &["Basic realm=\"insufficient_scope\""],
            &["Bearer error=\"invalid_token\", scope=\"a\""],
            &["Bearer scope=\"a\""],
        ] {
            assert!(demand(&answer(other)).is_none(), "{other:?}");
        }
        let found = demand(&answer(&["Basic realm=\"x\"", scope])).unwrap();
        assert_eq!(found.scope.as_deref(), Some("a b"));
        assert!(demand(&answer(&["Bearer error=insufficient_scope"])).is_some());
    }
}
