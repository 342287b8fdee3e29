//! Whose answer it is: browser, person, provider, time.

use super::*;

#[tokio::test]
async fn an_answer_is_for_one_browser_once_and_for_ten_minutes() {
    let liar = Liar::start().await;
    let left = liar.leave().await;
    let answer = liar.answer(&left);
    for stranger in [None, Some(Digest::of("another browser"))] {
        let returning = Returning { visitor: stranger, session: Some((UserId([7; 16]), Digest::of("session"))) };
        let told = liar.providers.finish("company", returning, &answer).await.unwrap_err();
        assert!(matches!(told.error, SignInError::Failed(fault) if fault.public.contains("another browser")));
        assert!(told.departure.is_none(), "a stranger learns nothing");
    }
    assert!(liar.script.lock().asked.is_empty(), "the code stays here");
    let arrived = liar.providers.finish("company", liar.returning(), &answer).await.unwrap();
    assert_eq!((arrived.purpose, arrived.return_to.as_str()), (Purpose::SignIn, "/back"));
    let again = liar.providers.finish("company", liar.returning(), &answer).await.unwrap_err();
    assert!(matches!(again.error, SignInError::Failed(fault) if fault.culprit == Culprit::Caller));

    let late = liar.leave().await;
    liar.providers.tools.clock.advance(Duration::from_secs(601));
    let told = liar.providers.finish("company", liar.returning(), &liar.answer(&late)).await.unwrap_err();
    assert!(matches!(told.error, SignInError::Failed(fault) if fault.public.contains("ten minutes")));
    assert_eq!(liar.script.lock().asked.len(), 1);
}

#[tokio::test]
async fn a_link_is_made_by_the_person_who_began_it() {
    let liar = Liar::start().await;
    let (person, session) = (UserId([1; 16]), Digest::of("session"));
    let begin = async || {
        let address = liar.providers.begin("company", session, Purpose::Link(person), "/").await.unwrap();
        let url = Url::parse(&address).unwrap();
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        liar.says(|script| script.challenge.clone_from(&query["code_challenge"]));
        let now = liar.providers.tools.clock.now().seconds();
        let claims = json!({"iss": liar.issuer, "sub": "ada", "aud": "us", "nonce": query["nonce"], "iat": now,
            "exp": now + 300, "email": "a@b.example", "email_verified": true, "groups": [], "preferred_username": "x"});
        liar.says(|script| script.claims = claims);
        Left { state: query["state"].clone(), nonce: query["nonce"].clone() }
    };
    // The visitor's cookie of the same browser is not enough, nor is another person's session.
    let answer = liar.answer(&begin().await);
    for returning in [
        liar.returning(),
        Returning { visitor: None, session: Some((UserId([2; 16]), Digest::of("other"))) },
        Returning { visitor: Some(session), session: None },
    ] {
        assert!(liar.providers.finish("company", returning, &answer).await.is_err());
    }
    let answer = liar.answer(&begin().await);
    let returning = Returning { visitor: None, session: Some((person, session)) };
    let arrived = liar.providers.finish("company", returning, &answer).await.unwrap();
    assert_eq!((arrived.purpose, arrived.profile.subject.as_str()), (Purpose::Link(person), "ada"));
}

#[tokio::test]
async fn answers_are_not_mixed_up() {
    let liar = Liar::start().await;
    let left = liar.leave().await;
    let told = liar.providers.finish("other", liar.returning(), &liar.answer(&left)).await.unwrap_err();
    assert!(matches!(told.error, SignInError::Failed(fault) if fault.public.contains("another provider")));
    for iss in [Some("https://evil.example".to_owned()), None] {
        let left = liar.leave().await;
        let answer = Answer { iss, error: Some("access_denied".to_owned()), ..liar.answer(&left) };
        let told = liar.providers.finish("company", liar.returning(), &answer).await.unwrap_err();
        // Not even its error is believed (security case B 60).
        assert!(
            matches!(told.error, SignInError::Failed(fault) if fault.public.contains("does not come from Company"))
        );
    }
    assert!(liar.script.lock().asked.is_empty(), "no code was given to anybody");
    let quiet = Liar::start().await;
    quiet.says(|script| script.metadata["authorization_response_iss_parameter_supported"] = json!(false));
    let left = quiet.leave().await;
    let answer = Answer { iss: None, ..quiet.answer(&left) };
    assert!(quiet.providers.finish("company", quiet.returning(), &answer).await.is_ok());
    assert_ne!(left.nonce, quiet.leave().await.nonce);
}
