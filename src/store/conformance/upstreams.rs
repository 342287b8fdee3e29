//! What administrators say about upstreams, and who asks for them.

use super::*;
use crate::store::{Decision, ToolList, Upstream, UpstreamRequest, UpstreamTools};

pub(super) async fn rules_about_tools_are_replaced_and_taken_away(store: &Store) {
    let before = store.latest_change().await.unwrap();
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let rules = |allowed: Option<&[&str]>, denied: &[&str]| UpstreamTools {
        authority: "a.example".to_owned(),
        allowed: allowed.map(texts),
        denied: texts(denied),
    };
    for said in [rules(None, &["delete_*"]), rules(Some(&[]), &[]), rules(Some(&["get_*", "x"]), &["get_y"])] {
        store.put_upstream_tools(&said).await.unwrap();
        assert_eq!(store.upstream_tools().await.unwrap(), [said]);
    }
    assert!(store.delete_upstream_tools("a.example").await.unwrap());
    assert!(!store.delete_upstream_tools("a.example").await.unwrap());
    assert_eq!(store.upstream_tools().await.unwrap(), []);
    assert_eq!(told(store, before).await, [Change::UpstreamsChanged; 4]);

    for document in ["[]", "[1]"] {
        let list = ToolList { authority: "a.example".to_owned(), document: document.to_owned(), read_at: NOW };
        store.put_tool_list(&list).await.unwrap();
        assert_eq!(store.tool_list("a.example").await.unwrap(), Some(list));
    }
    assert_eq!(store.tool_list("b.example").await.unwrap(), None);
}

pub(super) async fn a_decision_answers_those_who_asked(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    let wish = |user, number: u64, client: &str| UpstreamRequest {
        authority: format!("u{number}.example"),
        user,
        client: client.to_owned(),
        asked_at: NOW.after(Duration::from_secs(number)),
    };
    store.request_upstream(&wish(ada, 1, "Claude")).await.unwrap();
    store.request_upstream(&wish(ada, 1, "Cursor")).await.unwrap();
    store.request_upstream(&wish(bob, 2, "")).await.unwrap();
    let all = store.upstream_requests(10).await.unwrap();
    let told: Vec<_> = all.iter().map(|one| (one.user_name.as_deref(), one.row.clone())).collect();
    assert_eq!(told, [(Some("bob"), wish(bob, 2, "")), (Some("ada"), wish(ada, 1, "Cursor"))]);
    let denied = Upstream {
        authority: "u2.example".to_owned(),
        decision: Decision::Denied,
        alias: None,
        name: None,
        decided_by: Some(ada),
        decided_at: NOW,
    };
    store.put_upstream(&denied).await.unwrap();
    assert_eq!(store.upstream_requests(10).await.unwrap().len(), 1);
    // Nobody fills the queue alone: the newest twenty stay.
    for number in 100..130 {
        store.request_upstream(&wish(bob, number, "")).await.unwrap();
    }
    let left: Vec<_> = store.upstream_requests(100).await.unwrap().into_iter().map(|one| one.row.authority).collect();
    assert_eq!((left.len(), left[0].as_str(), left[19].as_str()), (21, "u129.example", "u110.example"));
    store.delete_user(bob, NOW).await.unwrap();
    assert_eq!(store.upstream_requests(10).await.unwrap().len(), 1);
    assert!(store.request_upstream(&wish(user("nobody").id, 1, "")).await.is_err());
}

pub(super) async fn a_membership_says_who_said_so(store: &Store) {
    let ada = known_user(store, "ada").await;
    store.add_group(ada, "dev").await.unwrap();
    store.set_groups(ada, "corp", &["dev".to_owned(), "ops".to_owned()]).await.unwrap();
    let told =
        [("dev", ""), ("dev", "corp"), ("ops", "corp")].map(|(name, source)| (name.to_owned(), source.to_owned()));
    assert_eq!(store.memberships_of(ada).await.unwrap(), told);
}
