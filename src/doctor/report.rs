//! What is told: for each client a list of steps, and the first that fails.

use super::check::{Check, Finding, Level, Verdict};
use super::place::Place;
use super::rules::Rules;
use serde::Serialize;

/// Everything that was found. As JSON its shape is stable: members are added, never taken away.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub target: String,
    /// The MCP server that was examined.
    pub url: String,
    /// The origin of the gateway that it belongs to, if it is one of ours.
    pub gateway: Option<String>,
    /// The ground that all clients share, judged as most of them do.
    pub common: Vec<Step>,
    /// One after the other.
    pub clients: Vec<ClientReport>,
    /// What is known about this server otherwise.
    pub notes: Vec<Note>,
    /// How long it took.
    pub milliseconds: u64,
}

/// How one client fares.
#[derive(Clone, Debug, Serialize)]
pub struct ClientReport {
    /// Its name on the command line.
    pub client: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The worst of all steps.
    pub outcome: Outcome,
    /// The step at which it gives up.
    pub first_failure: Option<Check>,
    /// Everything, the common ground as this client judges it included.
    pub steps: Vec<Step>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which.
    pub id: Check,
    /// What was looked at, in a few words.
    pub title: &'static str,
    /// What came out.
    pub outcome: Outcome,
    /// What was seen.
    pub evidence: String,
    /// The way in which it failed, where there are several.
    pub cause: Option<&'static str>,
    /// Why that matters.
    pub explanation: Option<String>,
    /// What to do.
    pub fix: Option<String>,
    /// Where that is known from.
    pub source: Option<String>,
    /// Where more is written.
    pub help: String,
}

/// What came out of a check, of a client, of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// There was nothing to look at, or no way to.
    Skipped,
    /// As it should be.
    Passed,
    /// It works, but not well.
    Warned,
    /// It does not work.
    Failed,
}

/// What is known about a server from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// In a sentence.
    pub text: String,
    /// From where.
    pub source: Option<String>,
}

impl Report {
    /// The worst of all clients; without any, of the ground.
    pub fn outcome(&self) -> Outcome {
        let clients = self.clients.iter().map(|client| client.outcome);
        clients.max().unwrap_or_else(|| worst(&self.common))
    }
}

/// What is said about a step that an earlier failure kept from being taken.
const NOT_REACHED: &str = "not reached";

impl Step {
    /// Whether it was taken, or there was a reason of its own not to.
    pub fn is_reached(&self) -> bool {
        self.evidence != NOT_REACHED
    }
}

impl ClientReport {
    /// The step at which the client gives up.
    pub fn failed_step(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.outcome == Outcome::Failed)
    }
}

/// Makes steps of findings.
pub(super) struct Judge<'a> {
    pub(super) place: &'a Place,
    pub(super) ground: &'a [Finding],
}

impl Judge<'_> {
    /// The ground, as most clients judge it.
    pub(super) fn common(&self) -> Vec<Step> {
        let checks = Check::ALL.iter().filter(|check| check.is_common());
        checks.filter_map(|check| self.step(*check, self.ground, None)).collect()
    }

    /// Names, the port and the certificate, as far as there was something to look at.
    pub(super) fn entrance(&self) -> Vec<Step> {
        let checks = Check::ALL.iter().filter(|check| **check <= Check::TlsProtocols);
        let steps = checks.filter_map(|check| self.step(*check, self.ground, None));
        steps.filter(|step| step.outcome != Outcome::Skipped).collect()
    }

    /// Everything as one client judges it.
    pub(super) fn client(&self, rules: &'static Rules, mut findings: Vec<Finding>) -> ClientReport {
        findings.extend(self.ground.iter().cloned());
        let steps = Check::ALL.iter().filter_map(|check| self.step(*check, &findings, Some(rules)));
        let steps: Vec<Step> = steps.collect();
        let first_failure = steps.iter().find(|step| step.outcome == Outcome::Failed).map(|step| step.id);
        ClientReport { client: &rules.id, name: &rules.name, outcome: worst(&steps), first_failure, steps }
    }

    fn step(&self, check: Check, findings: &[Finding], rules: Option<&Rules>) -> Option<Step> {
        let texts = check.texts();
        let level = rules.map_or(texts.level, |rules| rules.level(check));
        if level == Level::Off {
            return None;
        }
        let found = findings.iter().find(|(one, _)| *one == check).map(|(_, verdict)| verdict.clone());
        let verdict = found.unwrap_or_else(|| Verdict::Moot(NOT_REACHED.to_owned()));
        let mut step = Step {
            id: check,
            title: &texts.title,
            outcome: Outcome::Passed,
            evidence: String::new(),
            cause: None,
            explanation: None,
            fix: None,
            source: None,
            help: format!("docs/doctor.md#{}", check.id()),
        };
        match verdict {
            Verdict::Holds(seen) => step.evidence = seen,
            Verdict::Moot(seen) => (step.outcome, step.evidence) = (Outcome::Skipped, seen),
            Verdict::Broken { cause, seen } => {
                let own = rules.and_then(|rules| rules.checks.get(&check));
                let because = texts.causes.get(cause);
                let own_or = |own: Option<&String>, because: Option<&String>, usual: &String| {
                    self.place.fill(own.or(because).unwrap_or(usual))
                };
                let why = own.and_then(|own| own.why.as_ref());
                let fix = own.and_then(|own| own.fix.as_ref());
                let source = own.and_then(|own| own.source.as_ref()).unwrap_or(&texts.source);
                step.outcome = if level == Level::Must { Outcome::Failed } else { Outcome::Warned };
                step.evidence = seen;
                step.cause = Some(cause).filter(|cause| !cause.is_empty());
                step.explanation = Some(own_or(why, because.map(|one| &one.why), &texts.why));
                step.fix = Some(own_or(fix, because.map(|one| &one.fix), &texts.fix));
                step.source = Some(source.clone()).filter(|source| !source.is_empty());
            }
        }
        Some(step)
    }
}

fn worst(steps: &[Step]) -> Outcome {
    steps.iter().map(|step| step.outcome).max().unwrap_or(Outcome::Skipped)
}
