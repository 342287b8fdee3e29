//! The page of the doctor.

use super::answer::{Frame, page};
use super::place::{Account, Place};
use super::system::PARTS;
use crate::doctor::{ClientReport, Outcome, Report, Step};
use askama::Template;
use axum::response::Response;
use http::StatusCode;

/// The form, and what came out.
pub struct DoctorPage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Who is signed in.
    pub account: Account<'a>,
    /// What was typed.
    pub typed: &'a str,
    /// Why it was not examined.
    pub error: Option<&'a str>,
    /// What came out.
    pub report: Option<&'a Report>,
}

/// The form, and what came out.
pub fn doctor(page: &DoctorPage<'_>) -> Response {
    self::page(page.status, &Doctor { frame: Frame::at(Place::System, &page.account), page })
}

#[derive(Template)]
#[template(path = "doctor.html")]
struct Doctor<'a> {
    frame: Frame<'a>,
    page: &'a DoctorPage<'a>,
}

impl Doctor<'_> {
    /// The colour of an outcome.
    fn tone(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Passed => "good",
            Outcome::Warned | Outcome::Skipped => "quiet",
            Outcome::Failed => "bad",
        }
    }

    fn word(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Passed => "passed",
            Outcome::Warned => "works, but",
            Outcome::Skipped => "skipped",
            Outcome::Failed => "fails",
        }
    }

    /// The steps of a client that the common ground does not say already.
    fn own<'r>(report: &'r Report, client: &'r ClientReport) -> Vec<&'r Step> {
        let alike = |step: &Step| report.common.iter().any(|one| one.id == step.id && one.outcome == step.outcome);
        client.steps.iter().filter(|step| step.is_reached() && !alike(step)).collect()
    }
}
