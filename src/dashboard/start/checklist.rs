//! What a new gateway still needs, as administrators see it at the start until it is done. Every item looks at the real state.

use crate::certificates::CertificateStatus;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::doctor::{Outcome, Step};
use crate::page::ChecklistItem;
use crate::upstream::Standing;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long the page waits for the first look at the gateway's own names. Later ones happen behind it.
const PATIENCE: Duration = Duration::from_millis(50);

impl Dashboard {
    /// The list; nothing when all of it is done.
    pub(super) async fn checklist(self: &Arc<Self>) -> Result<Option<Vec<ChecklistItem>>, Failure> {
        let mut items = vec![claimed(), self.domain()];
        if !self.is_local() {
            items.extend(self.reachability().await);
        }
        items.push(self.first_server().await?);
        Ok(items.iter().any(|item| !item.done).then_some(items))
    }

    fn is_local(&self) -> bool {
        let domain = self.site.domain();
        domain == "localhost" || domain.ends_with(".localhost")
    }

    fn domain(&self) -> ChecklistItem {
        let item = |tone, word: String, text: Option<&str>| ChecklistItem {
            title: "Domain",
            done: true,
            tone,
            word,
            texts: text.map(str::to_owned).into_iter().collect(),
            way: None,
        };
        match self.is_local() {
            true => item(
                "quiet",
                "this machine only".to_owned(),
                Some("For clients elsewhere, set server.domain and tls.mode in the configuration and start again."),
            ),
            false => item("good", self.site.domain().to_owned(), None),
        }
    }

    /// Names, then port and certificate, by the doctor's checks.
    async fn reachability(self: &Arc<Self>) -> [ChecklistItem; 2] {
        let seen = match self.doctor.own_entrance() {
            Some((seen, true)) => Some(seen),
            stale => {
                let dashboard = self.clone();
                let look = tokio::spawn(async move { dashboard.doctor.look_at_own_entrance().await });
                match stale {
                    Some((seen, _)) => Some(seen),
                    None => {
                        let _ = timeout(PATIENCE, look).await;
                        self.doctor.own_entrance().map(|(seen, _)| seen)
                    }
                }
            }
        };
        let Some(seen) = seen else { return [looking("Names"), looking("Port and certificate")] };
        let (names, door): (Vec<&Step>, Vec<&Step>) = seen.iter().partition(|step| step.id.id().starts_with("dns-"));
        let way = Some(("Examine it with the doctor", format!("/doctor?target={}", self.site.domain())));
        let mut door = judged("Port and certificate", &door, way.clone());
        let certificates = self.certificates.status();
        let own = certificates.iter().find(|one| one.names.iter().any(|name| name == self.site.domain()));
        if let Some(own) = own.filter(|one| one.last_error.is_some()) {
            door.texts.push(CertificateStatus::alert(own));
        }
        [judged("Names", &names, way), door]
    }

    async fn first_server(&self) -> Result<ChecklistItem, Failure> {
        let decided = self.registry.all().iter().any(|upstream| upstream.standing == Standing::Allowed);
        let done = decided || self.store.count_connections().await?.iter().any(|(_, count)| *count > 0);
        let text =
            "Type the domain of an MCP server below and connect it; as an administrator you approve it on the way.";
        Ok(ChecklistItem {
            title: "First server",
            done,
            tone: if done { "good" } else { "quiet" },
            word: if done { "there" } else { "to do" }.to_owned(),
            texts: if done { Vec::new() } else { vec![text.to_owned()] },
            way: (!done).then(|| ("All servers", "/servers".to_owned())),
        })
    }
}

/// Whoever sees the list has done it.
fn claimed() -> ChecklistItem {
    let word = "claimed".to_owned();
    ChecklistItem { title: "Administrator", done: true, tone: "good", word, texts: Vec::new(), way: None }
}

fn looking(title: &'static str) -> ChecklistItem {
    let texts = vec!["It takes a moment. Load the page again.".to_owned()];
    ChecklistItem { title, done: false, tone: "quiet", word: "being looked at".to_owned(), texts, way: None }
}

/// What the doctor says about some of its checks: what does not hold, why, and what to do.
fn judged(title: &'static str, steps: &[&Step], way: Option<(&'static str, String)>) -> ChecklistItem {
    let worst = steps.iter().map(|step| step.outcome).max().unwrap_or(Outcome::Skipped);
    let (done, tone, word) = match worst {
        Outcome::Passed => (true, "good", "right"),
        Outcome::Warned => (true, "quiet", "works, but"),
        Outcome::Failed => (false, "bad", "to do"),
        Outcome::Skipped => (false, "quiet", "not looked at yet"),
    };
    let telling = steps.iter().filter(|step| matches!(step.outcome, Outcome::Warned | Outcome::Failed));
    let texts = telling.flat_map(|step| step.explanation.iter().chain(&step.fix).cloned()).collect();
    ChecklistItem { title, done, tone, word: word.to_owned(), texts, way: way.filter(|_| tone != "good") }
}
