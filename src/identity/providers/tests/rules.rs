//! Who is let in.

use super::*;

#[tokio::test]
async fn userinfo_fills_in_what_the_id_token_has_not() {
    let liar = Liar::with(|settings| settings.allowed_groups = Some(vec!["staff".to_owned()])).await;
    let bare = json!({"email": null, "email_verified": null, "preferred_username": null, "groups": null});
    liar.says(|script| {
        script.claims = bare.clone();
        script.user_info = Some(json!({"sub": "ada", "email": "ada@corp.com", "email_verified": true,
            "preferred_username": "ada", "groups": "staff", "iss": "https://evil.example"}));
    });
    let profile = liar.sign_in().await.unwrap();
    assert_eq!((profile.email.as_deref(), profile.groups), (Some("ada@corp.com"), vec!["staff".to_owned()]));
    for other in [json!({"sub": "eve", "groups": ["staff"]}), json!({"groups": ["staff"]})] {
        liar.says(|script| {
            script.claims = bare.clone();
            script.user_info = Some(other);
        });
        assert!(liar.disbelieved().await.contains("sub is not that of the ID token"));
    }
    // A word of the one does not verify an address of the other.
    liar.says(|script| {
        script.claims = json!({"email": "boss@corp.com", "email_verified": null, "groups": ["staff"]});
        script.user_info = Some(json!({"sub": "ada", "email_verified": true}));
    });
    assert_eq!(liar.sign_in().await.unwrap().email, None);
    liar.says(|script| {
        script.claims = json!({"groups": null});
        script.user_info = None;
    });
    assert!(liar.disbelieved().await.contains("userinfo: 500"));
}

#[tokio::test]
async fn a22_domains_are_those_of_verified_addresses_only() {
    let liar = Liar::with(|settings| {
        settings.allowed_domains = Some(Allowed::These(vec!["corp.com".to_owned()]));
    })
    .await;
    liar.sign_in().await.unwrap();
    for (email, verified) in [
        (json!("ada@evil-corp.com"), json!(true)),
        (json!("ada@corp.com.evil.example"), json!(true)),
        (json!("ada@sub.corp.com"), json!(true)),
        (json!("ada@evil.example@corp.com"), json!(true)),
        (json!("\"ada@evil.example\"@corp.com"), json!(true)),
        (json!("ada@corp.com "), json!(true)),
        (json!(["ada@corp.com"]), json!(true)),
        (json!("ada@corp.com"), json!(false)),
        (json!("ada@corp.com"), json!("yes")),
        (json!("ada@corp.com"), json!(1)),
    ] {
        liar.says(|script| script.claims = json!({"email": email, "email_verified": verified}));
        let told = liar.refused().await;
        assert!(told.contains("may not use this gateway") || told.contains("does not vouch"), "{email}: {told}");
    }
    liar.says(|script| script.claims = json!({"email": "Ada@CORP.com", "email_verified": "true"}));
    assert_eq!(liar.sign_in().await.unwrap().email.as_deref(), Some("Ada@CORP.com"));
}

#[tokio::test]
async fn where_there_are_two_rules_both_must_fit() {
    let liar = Liar::with(|settings| {
        settings.allowed_domains = Some(Allowed::These(vec!["corp.com".to_owned()]));
        settings.allowed_groups = Some(vec!["Staff".to_owned()]);
    })
    .await;
    assert!(liar.refused().await.contains("None of your groups"), "groups are compared exactly");
    liar.says(|script| script.claims = json!({"groups": ["Staff"], "email": "a@b.example"}));
    assert!(liar.refused().await.contains("address at b.example"));
    liar.says(|script| script.claims = json!({"groups": ["Staff", "x"]}));
    liar.sign_in().await.unwrap();
    liar.says(|script| {
        script.claims = json!({"groups": null, "_claim_names": {"groups": "src1"}});
        script.user_info = Some(json!({"sub": "ada"}));
    });
    assert!(liar.refused().await.contains("more groups than Company can list"));
}
