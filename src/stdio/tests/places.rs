//! How many processes there may be.

use super::*;
use crate::error::Culprit;

#[tokio::test]
async fn one_that_nobody_uses_gives_way() {
    let trial = Trial::with(|settings| settings.max_processes = 2);
    let upstream = script(ECHO);
    let first = trial.attach(&upstream, 1).await.unwrap();
    let second = trial.attach(&upstream, 2).await.unwrap();
    let refused = trial.attach(&upstream, 3).await.err().expect("both are in use");
    assert_eq!((refused.fault.culprit, refused.fault.status().as_u16()), (Culprit::Busy, 503));
    let mut ended = first.ended();
    drop(first);
    let third = trial.attach(&upstream, 3).await.unwrap();
    assert_eq!(ended.wait().await.public, "others needed its place");
    assert_eq!((second.ended().now(), third.ended().now()), (None, None));
    assert_eq!(trial.processes.running(), 2);
}

#[tokio::test]
async fn an_upstream_and_a_person_have_only_so_many() {
    let trial = Trial::with(|settings| settings.max_processes_per_upstream = 9);
    let upstream = script(ECHO);
    let attach = |account: String| {
        let account = Account::parse(&account).unwrap();
        let key = ConnectionKey::upstream(user(1), upstream.authority.clone(), Some(account));
        let (processes, upstream) = (trial.processes.clone(), upstream.clone());
        async move { processes.attach(&upstream, &key, Vec::new(), Shared::new).await }
    };
    let mut all = Vec::new();
    for account in 0..8 {
        all.push(attach(format!("a{account}")).await.unwrap());
    }
    assert!(attach("a9".to_owned()).await.is_err(), "a person has few accounts");
    all.push(trial.attach(&upstream, 2).await.unwrap());
    assert!(trial.attach(&upstream, 3).await.is_err(), "an upstream has its limit, too");
    let other = Upstream { authority: Authority::of_program("other").unwrap(), ..upstream.clone() };
    assert!(trial.attach(&other, 3).await.is_ok());
    assert!(all.iter().all(|one| one.ended().now().is_none()));
}
