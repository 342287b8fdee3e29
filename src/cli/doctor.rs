//! `doctor`: what is wrong with a set-up, as each client meets it.

use super::Failure;
use super::output::Output;
use crate::app;
use crate::clock::Clock;
use crate::config::{self, Source};
use crate::doctor::{ClientReport, Outcome, Report, Rules, Step, Target, Tools, examine};
use crate::error::Fault;
use crate::http::Resolver;
use crate::ids::Random;
use crate::providers::Providers;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The gateway's domain, the URL of an MCP server behind it, or any other MCP server's domain or URL
    target: Target,
    /// Only this client
    #[arg(long, default_value = "all", value_parser = client_names())]
    client: String,
    /// Register clients also at servers that may keep them; at a gateway they are deleted afterwards anyway
    #[arg(long)]
    register: bool,
    /// Trust these certificate authorities (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

fn client_names() -> clap::builder::PossibleValuesParser {
    let names = Rules::all().iter().map(|rules| rules.id.as_str());
    names.chain(["all"]).collect::<Vec<_>>().into()
}

/// `portcullis doctor URL|DOMAIN`
pub(super) async fn doctor(arguments: &Arguments, source: &Source, output: &mut Output<'_>) -> Result<(), Failure> {
    let clients: Vec<&'static Rules> = match Rules::find(&arguments.client) {
        Some(rules) => vec![rules],
        None => Rules::all().iter().collect(),
    };
    // The configuration of a gateway on this machine says on whose behalf other servers are examined; none will do.
    let config = config::load(source).ok().filter(|config| config.server.domain != "localhost");
    let gateway = config.as_ref().map(|config| app::site_of(config, &config.server.listen).root_origin());
    let providers =
        config.map_or_else(|| Providers::built_in().clone(), |config| Arc::new(Providers::with(&config.provider)));
    let tools = Tools::new(Resolver::system(), arguments.ca_file.as_deref(), Clock::system(), Random::default())?
        .with_private_addresses(true)
        .with_registration(arguments.register)
        .with_providers(providers)
        .for_gateway(gateway);
    let report = examine(&arguments.target, &clients, &tools).await;
    if output.json {
        let json = serde_json::to_string(&report).map_err(Fault::gateway)?;
        output.line(format_args!("{json}"))?;
    } else {
        let paint = Paint { colours: output.is_terminal };
        output.bytes(paint.report(&report).as_bytes())?;
    }
    if report.outcome() == Outcome::Failed { Err(Failure::Found) } else { Ok(()) }
}

/// How a report looks on paper.
struct Paint {
    colours: bool,
}

impl Paint {
    fn report(&self, report: &Report) -> String {
        let mut text = String::new();
        // A text takes everything.
        let _ = self.write(&mut text, report);
        text
    }

    fn write(&self, text: &mut String, report: &Report) -> std::fmt::Result {
        writeln!(text, "{}", shown(&report.url))?;
        match &report.gateway {
            Some(root) => writeln!(text, "behind the gateway {}\n", shown(root))?,
            None => writeln!(text, "not behind a gateway of this kind\n")?,
        }
        let width = report.clients.iter().map(|client| client.name.chars().count()).max().unwrap_or(0);
        for client in &report.clients {
            let why = match client.failed_step() {
                Some(step) => format!("fails at {}: {}", step.id.id(), shown(&step.evidence)),
                None if client.outcome == Outcome::Warned => {
                    let warned = client.steps.iter().filter(|step| step.outcome == Outcome::Warned);
                    format!("connects; see {}", warned.map(|step| step.id.id()).collect::<Vec<_>>().join(", "))
                }
                None => "connects".to_owned(),
            };
            writeln!(text, "{}  {:width$}  {why}", self.mark(client.outcome), client.name)?;
        }
        writeln!(text, "\n{}", self.bold("For all clients"))?;
        self.table(text, report.common.iter())?;
        for client in &report.clients {
            self.client(text, client, &report.common)?;
        }
        if !report.notes.is_empty() {
            writeln!(text, "\n{}", self.bold("What is known about this server"))?;
        }
        for note in &report.notes {
            let source = note.source.as_ref().map(|source| format!(" ({})", shown(source))).unwrap_or_default();
            writeln!(text, "- {}{source}", shown(&note.text))?;
        }
        Ok(())
    }

    fn client(&self, text: &mut String, client: &ClientReport, common: &[Step]) -> std::fmt::Result {
        writeln!(text, "\n{}", self.bold(client.name))?;
        let judged_alike = |step: &Step| common.iter().any(|one| one.id == step.id && one.outcome == step.outcome);
        self.table(text, client.steps.iter().filter(|step| !judged_alike(step)))?;
        if let Some(step) = client.failed_step() {
            for part in [&step.explanation, &step.fix].into_iter().flatten() {
                writeln!(text, "\n{}", wrapped(part))?;
            }
            let source = step.source.as_ref().map(|source| format!("; source: {source}")).unwrap_or_default();
            writeln!(text, "\n  See {}{source}", step.help)?;
        }
        Ok(())
    }

    fn table<'a>(&self, text: &mut String, steps: impl Iterator<Item = &'a Step>) -> std::fmt::Result {
        let (reached, rest): (Vec<_>, Vec<_>) = steps.partition(|step| step.is_reached());
        for step in reached {
            writeln!(text, "  {}  {:20}  {}", self.mark(step.outcome), step.id.id(), shown(&step.evidence))?;
        }
        match rest.len() {
            0 => Ok(()),
            count => writeln!(text, "  {}  {count} more not reached", self.mark(Outcome::Skipped)),
        }
    }

    fn mark(&self, outcome: Outcome) -> String {
        let (word, colour) = match outcome {
            Outcome::Passed => ("ok  ", 32),
            Outcome::Warned => ("warn", 33),
            Outcome::Failed => ("FAIL", 31),
            Outcome::Skipped => ("-   ", 2),
        };
        if self.colours { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        if self.colours { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What strangers wrote, fit for a terminal.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Indented lines of a readable length.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in shown(text).split_whitespace() {
        if lines.last().is_some_and(|line| !line.is_empty() && line.len() + word.len() > 95) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            let space = if line.is_empty() { "" } else { " " };
            line.push_str(&format!("{space}{word}"));
        }
    }
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
