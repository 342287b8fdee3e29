//! `portcullis audit`: the log itself, whether it is whole, and its lines for elsewhere.

use super::Failure;
use super::arguments::AuditCommand;
use super::gateway::Gateway;
use super::output::{Output, counted};
use crate::administration::AuditFilter;
use crate::administration::records::Moment;
use crate::audit::line_of;
use crate::error::Fault;
use crate::store::{AuditLink, AuditSelection, AuditVerdict, BrokenChain, Store};
use serde_json::json;

/// How many lines are read at a time.
const PAGE: u32 = 1000;

/// `portcullis audit …`
pub(super) async fn audit(command: AuditCommand, gateway: &Gateway, output: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        AuditCommand::List { actor, action, since, until, limit } => {
            let filter = AuditFilter { actor, action, since, until, ..AuditFilter::default() };
            let columns =
                ["at", "actor", "action", "subject", "address", "upstream", "client", "status", "duration_ms"];
            output.records(columns, &gateway.audit_log(&filter, limit).await?)
        }
        AuditCommand::Verify { anchor } => verify(gateway.store_here()?, anchor, output).await,
        AuditCommand::Export { since, until, format: _ } => export(gateway.store_here()?, since, until, output).await,
    }
}

/// `portcullis audit verify`
async fn verify(store: &Store, anchor: Option<AuditLink>, output: &mut Output<'_>) -> Result<(), Failure> {
    let verdict = store.verify_audit(anchor).await?;
    if output.json {
        let broken = verdict.broken.map(
            |broken| json!({ "position": broken.position, "number": broken.number, "why": broken.breach.to_string() }),
        );
        let told = json!({
            "lines": verdict.lines,
            "removed_by_retention": verdict.kept_after,
            "head": verdict.head.map(|head| head.to_string()),
            "before_the_chain": verdict.before_the_chain,
            "not_chained_yet": verdict.not_chained_yet,
            "broken": broken,
        });
        output.line(format_args!("{told}"))?;
    } else {
        tell(&verdict, output)?;
    }
    match verdict.broken {
        Some(broken) => Err(Fault::caller(sentence(&broken)).into()),
        None => Ok(()),
    }
}

fn tell(verdict: &AuditVerdict, output: &mut Output<'_>) -> Result<(), Failure> {
    let lines = |number: u64| counted(usize::try_from(number).unwrap_or(usize::MAX), "line");
    output.line(format_args!("{} fit", lines(verdict.lines)))?;
    if verdict.kept_after > 0 {
        output.line(format_args!("retention has taken the first {}", lines(verdict.kept_after.unsigned_abs())))?;
    }
    if verdict.before_the_chain > 0 {
        let many = lines(verdict.before_the_chain);
        output
            .line(format_args!("{many} of earlier versions are from before the chain, which does not protect them"))?;
    }
    if verdict.not_chained_yet > 0 {
        let many = lines(verdict.not_chained_yet);
        output.line(format_args!("{many} of an earlier version will be chained with the next event"))?;
    }
    if let (Some(head), None) = (verdict.head, verdict.broken) {
        output.line(format_args!("head {head}"))?;
        output.line(format_args!(
            "keep that elsewhere: `portcullis audit verify --anchor` tells later whether it still holds"
        ))?;
    }
    Ok(())
}

fn sentence(broken: &BrokenChain) -> String {
    let row = broken.number.map(|number| format!(" (id {number} in the table audit)")).unwrap_or_default();
    format!("the audit log does not hold at line {}{row}: {}", broken.position, broken.breach)
}

/// `portcullis audit export`
async fn export(
    store: &Store,
    since: Option<Moment>,
    until: Option<Moment>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let selection = AuditSelection {
        since: since.map(|moment| moment.0),
        until: until.map(|moment| moment.0),
        ..AuditSelection::default()
    };
    let mut after = 0;
    loop {
        let lines = store.audit_lines(selection, after, PAGE).await?;
        let Some(last) = lines.last() else { return Ok(()) };
        after = last.numbered.number;
        let text: String =
            lines.iter().map(|one| line_of(&one.numbered.event, Some(one.numbered.number), one.link)).collect();
        output.bytes(text.as_bytes())?;
    }
}
