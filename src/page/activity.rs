//! What happened: figures as plots, and the lines of the audit log.

mod figures;
mod log;

pub use figures::{FiguresPage, figures};
pub use log::{LogLine, LogPage, log};

use crate::activity::Range;

/// Where the figures are.
pub const FIGURES: &str = "/activity";
/// Where the lines of the audit log are.
pub const LOG: &str = "/activity/log";
/// Where they are followed.
pub(super) const STREAM: &str = "/activity/stream";
/// Where they are taken along.
pub(super) const EXPORT: &str = "/activity/export";

/// A value that is longer than this is no part of a link: it is shown, and that is all.
const LONGEST: usize = 200;

/// What somebody looks at, as it stands in an address. Everything that is empty is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// `hour`, `day` or `month`.
    pub range: &'static str,
    /// A person's name.
    pub person: String,
    /// An upstream's authority.
    pub upstream: String,
    /// A client's id.
    pub client: String,
    /// A tool.
    pub tool: String,
    /// An action of the audit log.
    pub action: String,
    /// A time of RFC 3339.
    pub since: String,
    /// The same.
    pub until: String,
}

impl Choice {
    /// The name of a range in addresses.
    pub fn name_of(range: Range) -> &'static str {
        match range {
            Range::Hour => "hour",
            Range::Day => "day",
            Range::Month => "month",
        }
    }

    /// An address of ours with this choice and more.
    pub fn address(&self, path: &str, more: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let fields = [
            ("range", self.range),
            ("person", &self.person),
            ("upstream", &self.upstream),
            ("client", &self.client),
            ("tool", &self.tool),
            ("action", &self.action),
            ("since", &self.since),
            ("until", &self.until),
        ];
        query.extend_pairs(fields.iter().chain(more).filter(|(_, value)| !value.is_empty()));
        match query.finish() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }

    /// Whether there are figures for it: they are kept by person, by upstream and tool, and by client alone.
    pub fn has_figures(&self) -> bool {
        let elsewhere = !self.upstream.is_empty() || !self.tool.is_empty();
        let of_a_client = !self.client.is_empty();
        !(of_a_client && elsewhere) && (self.tool.is_empty() || !self.upstream.is_empty())
    }
}

/// A part of a choice, and the way to be without it.
struct Chosen {
    what: &'static str,
    name: String,
    without: String,
}

/// Takes a part of what is chosen away.
type Clear = fn(&mut Choice);

impl Choice {
    /// What is chosen beside the time, on the page at `path`. A tool goes with its upstream.
    fn chosen(&self, path: &str, client_name: Option<&str>, person_is_fixed: bool) -> Vec<Chosen> {
        let parts: [(&str, &String, Clear); 5] = [
            ("Person", &self.person, |choice| choice.person.clear()),
            ("Server", &self.upstream, |choice| {
                choice.upstream.clear();
                choice.tool.clear();
            }),
            ("Client", &self.client, |choice| choice.client.clear()),
            ("Tool", &self.tool, |choice| choice.tool.clear()),
            ("Action", &self.action, |choice| choice.action.clear()),
        ];
        let parts = parts.into_iter().filter(|(what, value, _)| {
            let is_fixed = match *what {
                "Person" => person_is_fixed,
                "Action" => path == FIGURES,
                _ => false,
            };
            !value.is_empty() && !is_fixed
        });
        let chosen = |(what, value, clear): (&'static str, &String, Clear)| {
            let mut without = self.clone();
            clear(&mut without);
            let name = client_name.filter(|_| what == "Client").unwrap_or(value);
            Chosen { what, name: super::words::cut(name), without: without.address(path, &[]) }
        };
        parts.map(chosen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_an_address_that_hides_nothing_and_runs_nothing() {
        let choice = Choice { range: "day", person: "a&b=c\"'<".to_owned(), ..Choice::default() };
        assert_eq!(
            choice.address(LOG, &[("before", "7")]),
            "/activity/log?range=day&person=a%26b%3Dc%22%27%3C&before=7"
        );
        assert_eq!(Choice::default().address(FIGURES, &[]), "/activity");
        let chosen = choice.chosen(FIGURES, None, false);
        assert_eq!((chosen.len(), chosen[0].without.as_str()), (1, "/activity?range=day"));
        assert!(choice.chosen(FIGURES, None, true).is_empty());
    }

    #[test]
    fn a_tool_goes_with_its_server() {
        let some = |upstream: &str, client: &str, tool: &str| Choice {
            upstream: upstream.to_owned(),
            client: client.to_owned(),
            tool: tool.to_owned(),
            ..Choice::default()
        };
        for (choice, has_figures) in [
            (some("", "", ""), true),
            (some("u", "", "t"), true),
            (some("", "c", ""), true),
            (some("", "", "t"), false),
            (some("u", "c", ""), false),
            (some("", "c", "t"), false),
        ] {
            assert_eq!(choice.has_figures(), has_figures, "{choice:?}");
        }
        let chosen = some("u", "", "t").chosen(LOG, None, false);
        assert_eq!(
            chosen.iter().map(|one| &*one.without).collect::<Vec<_>>(),
            ["/activity/log", "/activity/log?upstream=u"]
        );
    }
}
