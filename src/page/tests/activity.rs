//! The activity pages with the worst of names, and with as much as they ever show.

use super::*;
use crate::activity::{Point, Range, Report, Share};
use crate::store::AuditEvent;
use std::collections::HashMap;

pub(super) fn pages() -> Vec<Response> {
    let (report, choice) = (busy_month(), hostile_choice());
    vec![figures_of(Some(&report), &choice, true), figures_of(None, &choice, true), hostile_log()]
}

#[tokio::test]
async fn a_busy_month_is_a_light_page_that_says_in_words_what_it_shows() {
    let (report, choice) = (busy_month(), Choice { range: "month", ..Choice::default() });
    let html = text(figures_of(Some(&report), &choice, true)).await;
    assert!(html.len() < 80_000, "{} bytes", html.len());
    assert_eq!(html.matches("role=\"img\" aria-labelledby=").count(), 4);
    for plot in ["requests", "latency", "refreshes", "streams"] {
        assert!(html.contains(&format!("<title id=\"{plot}-title\">")), "{plot}");
        assert!(html.contains(&format!("<desc id=\"{plot}-words\">")), "{plot}");
    }
    for words in [
        "The busiest six hours began at 2026-01-30 18:00, with 96,303.",
        "99 of a hundred than 1.2 s.",
        "7 streams are open now. The most at once were 1,119, at 2026-01-30 18:00.",
        "<th scope=\"row\">2026-01-01 06:00</th><td>80,135</td><td>1</td><td>1</td><td>35 ms</td>",
        ">5 Jan</text>",
        ">100,000</text>",
    ] {
        assert!(html.contains(words), "{words}: {html}");
    }
    assert_eq!(html.matches("<tr>").count(), 1 + 120 + 4 * 11);
    let log = text(hostile_log()).await;
    assert!(log.len() < 100 * 1024, "{} bytes", log.len());
}

#[tokio::test]
async fn members_see_no_other_people_and_nothing_is_drawn_of_what_is_not_kept() {
    let (report, all) = (busy_month(), Choice { range: "month", ..Choice::default() });
    let html = text(figures_of(Some(&report), &Choice { person: "ada".to_owned(), ..all.clone() }, false)).await;
    assert!(html.contains(">Tools</h2>") && !html.contains(">People</h2>") && !html.contains("Remove"));
    let tool = Choice { upstream: "mcp.example".to_owned(), tool: "search".to_owned(), ..all.clone() };
    let html = text(figures_of(Some(&report), &tool, true)).await;
    assert_eq!(html.matches("<figure").count(), 2, "streams and refreshes are not kept by tool");
    assert_eq!(html.matches("Remove<span").count(), 2);
    let nothing = Report { points: vec![Point::default(); 120], ..busy_month() };
    let html = text(figures_of(Some(&nothing), &all, true)).await;
    assert!(html.contains("Nothing yet") && !html.contains("<figure"));
    let unknown = Choice { client: "claude".to_owned(), ..tool };
    let html = text(figures_of(None, &unknown, true)).await;
    assert!(html.contains("There are no figures for this") && html.contains("/activity/log?upstream=mcp.example&#38;"));
}

/// A month of a busy gateway, in which everybody has the worst of names.
fn busy_month() -> Report {
    let point = |number: u64| Point {
        requests: 80_000 + 137 * number,
        errors: number % 7,
        refused: number % 3,
        refreshes: 100 + number,
        streams: 1000 + number,
        p50_ms: Some(35),
        p95_ms: Some(180 + u32::try_from(number).unwrap()),
        p99_ms: (!number.is_multiple_of(10)).then_some(1_200),
    };
    let share = |number: u64| Share {
        name: format!("{HOSTILE}{number}{}", "x".repeat(100)),
        upstream: Some(HOSTILE.to_owned()),
        sum: point(number),
        streams_now: number,
    };
    let shares = || (0..20).map(share).collect();
    Report {
        begin: Timestamp(1_767_225_600),
        points: (0..120).map(point).collect(),
        sum: Point { p99_ms: Some(1_200), ..point(70_000) },
        streams_now: 7,
        upstreams: shares(),
        clients: shares(),
        people: shares(),
        tools: shares(),
    }
}

fn hostile_choice() -> Choice {
    let hostile = || HOSTILE.to_owned();
    Choice {
        range: "month",
        person: hostile(),
        upstream: hostile(),
        client: String::new(),
        tool: hostile(),
        action: hostile(),
        since: hostile(),
        until: hostile(),
    }
}

fn figures_of(report: Option<&Report>, choice: &Choice, administrator: bool) -> Response {
    figures(&FiguresPage {
        account: Account { name: HOSTILE, csrf_token: HOSTILE, administrator, notice: None },
        choice,
        range: Range::Month,
        report,
        client_names: &HashMap::from([(format!("{HOSTILE}0{}", "x".repeat(100)), HOSTILE.to_owned())]),
    })
}

fn hostile_log() -> Response {
    let choice = hostile_choice();
    let event = AuditEvent {
        action: "tool.called".to_owned(),
        upstream: Some(HOSTILE.to_owned()),
        client: Some(HOSTILE.repeat(8)),
        status: Some(200),
        duration_ms: Some(35),
        ..AuditEvent::new(Timestamp(0), HOSTILE, "", HOSTILE, Some(HOSTILE.to_owned()))
    };
    log(&LogPage {
        status: StatusCode::BAD_REQUEST,
        account: Account { name: HOSTILE, csrf_token: HOSTILE, administrator: true, notice: None },
        choice: &choice,
        error: Some(HOSTILE),
        lines: (0..20).map(|number| LogLine::new(number, &event, &choice, &HashMap::new())).collect(),
        older: Some(1),
        follow_after: Some(50),
        client_names: &HashMap::new(),
    })
}
