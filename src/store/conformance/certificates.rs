//! Certificates, accounts, and what is going to be asked.

use super::*;

const NAME: (&str, &str, &str) = ("gw.example", "gw.example", "https://ca.example/directory");

pub(super) async fn a_certificate_is_ordered_by_one_at_a_time(store: &Store) {
    let claim = async |holder: &'static str, now| {
        store.claim_certificate(NAME, holder, (now, now.after(Duration::from_secs(60)))).await.unwrap()
    };
    let first = claim("one", NOW).await.unwrap();
    assert_eq!((first.chain, first.not_after, first.renew_at, first.failures), (None, None, Timestamp(0), 0));
    assert!(claim("two", later(59)).await.is_none());
    assert!(claim("one", later(1)).await.is_some(), "its own");
    assert!(claim("two", later(61)).await.is_some(), "the lease of the first is over");

    let issued = issued();
    let position = store.journal_position().await.unwrap();
    assert!(!store.finish_certificate(NAME.0, "one", &issued).await.unwrap(), "it was too late");
    assert!(store.finish_certificate(NAME.0, "two", &issued).await.unwrap());
    let News::Changes(changes, _) = store.news_since(&position).await.unwrap() else { panic!() };
    assert_eq!(changes, [Some(Change::CertificatesChanged)]);
    let [kept] = &*store.certificates().await.unwrap() else { panic!() };
    assert_eq!((kept.chain.as_deref(), kept.sealed.as_deref()), (Some("chain"), Some(&[7_u8; 4][..])));
    assert_eq!((kept.not_before, kept.not_after), (Some(NOW), Some(later(900))));
    assert_eq!((kept.renew_at, kept.ask_at), (later(600), None));
    assert!(claim("three", later(62)).await.is_some(), "the lease is given back");
    store.release_certificate(NAME.0, "three").await.unwrap();
    assert!(claim("four", later(62)).await.is_some());
}

pub(super) async fn a_failed_order_is_counted_and_what_there_was_stays(store: &Store) {
    let claim = async || store.claim_certificate(NAME, "one", (NOW, later(60))).await.unwrap().unwrap();
    claim().await;
    assert!(store.finish_certificate(NAME.0, "one", &issued()).await.unwrap());
    for failures in 1..3 {
        claim().await;
        store.fail_certificate(NAME.0, "one", ("no route", later(700))).await.unwrap();
        let [kept] = &*store.certificates().await.unwrap() else { panic!() };
        assert_eq!((kept.failures, kept.last_error.as_deref()), (failures, Some("no route")));
        assert_eq!((kept.chain.as_deref(), kept.renew_at), (Some("chain"), later(700)));
    }
    assert_eq!(store.renew_certificates(Some("other.example")).await.unwrap(), 0);
    assert_eq!(store.renew_certificates(None).await.unwrap(), 1);
    let due = claim().await;
    assert_eq!((due.renew_at, due.failures), (Timestamp(0), 0));
    store.reschedule_certificate(&due, later(5), Some(later(6))).await.unwrap();
    let [kept] = &*store.certificates().await.unwrap() else { panic!() };
    assert_eq!((kept.renew_at, kept.ask_at), (later(5), Some(later(6))));
    store.reschedule_certificate(&StoredCertificate { not_after: Some(NOW), ..due }, NOW, None).await.unwrap();
    assert_eq!(store.certificates().await.unwrap()[0].renew_at, later(5), "another certificate");
    store.delete_certificate(NAME.0).await.unwrap();
    assert!(store.certificates().await.unwrap().is_empty());
}

pub(super) async fn an_account_is_made_once_and_replaced_when_it_is_gone(store: &Store) {
    let directory = NAME.2;
    assert!(store.acme_account(directory).await.unwrap().is_none());
    store.put_acme_account(directory, &[1], NOW).await.unwrap();
    store.put_acme_account(directory, &[2], NOW).await.unwrap();
    assert_eq!(store.acme_account(directory).await.unwrap(), Some(vec![1]));
    store.delete_acme_account(directory, &[2]).await.unwrap();
    assert_eq!(store.acme_account(directory).await.unwrap(), Some(vec![1]), "that one was another");
    store.delete_acme_account(directory, &[1]).await.unwrap();
    store.put_acme_account(directory, &[2], NOW).await.unwrap();
    assert_eq!(store.acme_account(directory).await.unwrap(), Some(vec![2]));
}

pub(super) async fn answers_are_found_and_go_with_their_order(store: &Store) {
    let challenge = |kind: &str, key: &str, name: &str, answer: &str| AcmeChallenge {
        kind: kind.to_owned(),
        key: key.to_owned(),
        name: name.to_owned(),
        answer: answer.to_owned(),
        expires_at: later(60),
    };
    for one in
        [challenge("http-01", "a", "x", "1"), challenge("http-01", "a", "x", "2"), challenge("http-01", "b", "y", "3")]
    {
        store.put_acme_challenge(&one).await.unwrap();
    }
    store.put_acme_challenge(&challenge("tls-alpn-01", "a", "z", "4")).await.unwrap();
    assert_eq!(store.acme_answer("http-01", "a").await.unwrap().as_deref(), Some("2"));
    assert_eq!(store.acme_answer("http-01", "c").await.unwrap(), None);
    assert_eq!(store.acme_challenges("tls-alpn-01").await.unwrap(), [challenge("tls-alpn-01", "a", "z", "4")]);
    store.delete_acme_challenges("x", NOW).await.unwrap();
    assert_eq!(store.acme_answer("http-01", "a").await.unwrap(), None);
    assert_eq!(store.acme_answer("http-01", "b").await.unwrap().as_deref(), Some("3"));
    store.delete_acme_challenges("x", later(60)).await.unwrap();
    assert_eq!(store.acme_answer("http-01", "b").await.unwrap(), None, "nobody asks any more");
}

fn issued() -> Issued<'static> {
    Issued {
        names: "gw.example",
        directory: NAME.2,
        chain: "chain",
        sealed: &[7; 4],
        validity: (NOW, later(900)),
        renew_at: later(600),
        ask_at: None,
    }
}
