//! How processes end.

use super::*;
use crate::stdio::start::WAITING;

/// The process of a script, which has ended by itself or was ended for what it did.
async fn failed(trial: &Trial, text: &str) -> Ending {
    let attached = trial.attach(&script(text), 1).await.unwrap();
    let ending = attached.end().await;
    let refused = trial.attach(&script(text), 1).await.err().expect("it is not started again at once");
    assert!(refused.fault.public.contains(&ending.public) && refused.retry_after.is_some(), "{refused:?}");
    ending
}

#[tokio::test]
async fn one_that_exits_at_once_is_started_again_after_a_pause() {
    let trial = Trial::new();
    let ending = failed(&trial, "echo 'the token is wrong' >&2; exit 3").await;
    assert_eq!(ending.public, "it exited with status 3");
    assert_eq!(ending.private, "it exited with status 3; its last words: the token is wrong");
    assert!(trial.metric("portcullis_stdio_exits_total{outcome=\"failed\"} 1"));
    let again = async {
        loop {
            match trial.attach(&script(ECHO), 1).await {
                Ok(attached) => return attached,
                Err(refused) => tokio::time::sleep(refused.retry_after.expect("a time")).await,
            }
        }
    };
    let attached = tokio::time::timeout(SOON, again).await.expect("it is started again");
    attached.send("{}").await;
    assert_eq!(attached.receive().await.as_deref(), Some("{}"));
}

#[tokio::test]
async fn one_that_is_killed_is_reported() {
    let ending = failed(&Trial::new(), "kill -9 $$").await;
    assert!(ending.public.starts_with("it was killed (signal 9)"), "{ending:?}");
}

#[tokio::test]
async fn its_last_words_have_no_secrets() {
    let trial = Trial::new();
    let upstream = script("echo \"cannot sign in with $TOKEN\" >&2; exit 1");
    let ending = trial.attach_with(&upstream, 1, &[("TOKEN", "hunter2")]).await.unwrap().end().await;
    assert!(ending.private.ends_with("cannot sign in with [secret]"), "{ending:?}");
}

#[tokio::test]
async fn one_that_writes_without_end_is_ended() {
    let trial = Trial::with(|settings| settings.max_message = 1 << 20);
    let ending = failed(&trial, "exec cat /dev/zero").await;
    assert_eq!(ending.public, "it wrote a line of more than 1024 KiB");
}

#[tokio::test]
async fn one_that_writes_nothing_but_garbage_is_ended() {
    let ending = failed(&Trial::new(), "exec yes garbage").await;
    assert_eq!(ending.public, "it wrote 1001 lines in a row that are not JSON");
}

#[tokio::test]
async fn one_that_does_not_read_is_ended() {
    let trial = Trial::new();
    let attached = trial.attach(&script("exec sleep 1000"), 1).await.unwrap();
    attached.send(&format!("[\"{}\"]", "x".repeat(1 << 20))).await;
    let ending = attached.end().await;
    assert!(ending.public.starts_with("it did not read its input"), "{ending:?}");
}

#[tokio::test]
async fn one_that_closes_its_output_is_ended() {
    let trial = Trial::new();
    let attached = trial.attach(&script("exec 1>&-; exec sleep 1000"), 1).await.unwrap();
    assert_eq!(attached.end().await.public, "it was ended by signal 15");
}

#[tokio::test]
async fn messages_that_nobody_reads_hold_it_up() {
    let trial = Trial::new();
    let attached = trial.attach(&script("i=0; while :; do i=$((i+1)); echo \"[$i]\"; done"), 1).await.unwrap();
    // Everything that is not read stays on its side of the pipe, and it can be ended all the same.
    while attached.shared().lock().await.incoming.len() < WAITING {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(attached.receive().await.as_deref(), Some("[1]"));
    trial.processes.stop().await;
    assert_eq!(attached.end().await.public, "the gateway stops");
}

#[tokio::test]
async fn one_that_says_nothing_ends_when_it_is_let_go() {
    let trial = Trial::new();
    let attached = trial.attach(&script("while read -r line; do :; done"), 1).await.unwrap();
    attached.shared().lock().await.incoming.close();
    assert_eq!(attached.end().await.public, "it was let go");
}

#[tokio::test]
async fn its_input_ends_before_it_is_told_to_end() {
    let trial = Trial::new();
    let text = "trap 'echo [15]' TERM; while read -r line; do :; done; echo [0]";
    let attached = trial.attach(&script(text), 1).await.unwrap();
    trial.processes.stop().await;
    assert_eq!(attached.receive().await.as_deref(), Some("[0]"), "what it says last is heard");
    assert_eq!(attached.receive().await, None);
}

#[tokio::test]
async fn one_that_will_not_end_is_killed_with_all_that_it_started() {
    let trial = Trial::new();
    // Neither listens to SIGTERM nor looks at its input.
    let text = "trap '' TERM; sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' & echo [$!]; echo [$$]; while :; do sleep 0.1; done";
    let attached = trial.attach(&script(text), 1).await.unwrap();
    let (grandchild, child) = (attached.number().await, attached.number().await);
    trial.processes.stop().await;
    gone(child).await;
    gone(grandchild).await;
}

#[tokio::test]
async fn what_it_leaves_behind_ends_with_it() {
    let trial = Trial::new();
    let attached = trial.attach(&script("sleep 1000 & echo [$!]; echo [$$]; read -r line; exit 0"), 1).await.unwrap();
    let (grandchild, child) = (attached.number().await, attached.number().await);
    attached.send("{}").await;
    assert_eq!(attached.end().await.public, "it exited with status 0");
    gone(child).await;
    gone(grandchild).await;
}

#[tokio::test]
async fn one_that_nobody_uses_ends_and_comes_back_without_a_pause() {
    let trial = Trial::new();
    let upstream = script_with("echo [$$]; cat >/dev/null", |command| command.idle = Some(Duration::from_millis(100)));
    let attached = trial.attach(&upstream, 1).await.unwrap();
    let number = attached.number().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(attached.ended().now(), None, "somebody uses it");
    let mut ended = attached.ended();
    drop(attached);
    assert_eq!(tokio::time::timeout(SOON, ended.wait()).await.unwrap().public, "nobody used it");
    gone(number).await;
    assert_ne!(trial.attach(&upstream, 1).await.unwrap().number().await, number);
}

#[tokio::test]
async fn one_that_nobody_may_use_any_longer_ends() {
    let trial = Trial::new();
    let upstream = script(ECHO);
    let (one, other) = (trial.attach(&upstream, 1).await.unwrap(), trial.attach(&upstream, 2).await.unwrap());
    trial.processes.keep_only(|authority, person| authority.is_program() && person != Some(user(1)));
    assert_eq!(one.end().await.public, "nobody may use it any longer");
    assert_eq!(other.ended().now(), None);
}

#[tokio::test]
async fn whoever_goes_away_while_it_starts_leaves_nothing_behind() {
    let trial = Trial::new();
    for _ in 0..20 {
        let upstream = script(ECHO);
        let attach = trial.attach(&upstream, 1);
        tokio::select! { biased;
            _ = attach => {}
            () = tokio::task::yield_now() => {}
        }
    }
    drop(trial.attach(&script(ECHO), 1).await.unwrap());
    trial.processes.stop().await;
    assert_eq!(trial.processes.running(), 0);
}
