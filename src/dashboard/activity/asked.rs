//! What the address of a page asks for, and how much of it who asks may see.

use crate::activity::Range;
use crate::audit::Wanted;
use crate::clock::Timestamp;
use crate::page::Choice;
use crate::store::{Role, User};
use serde::Deserialize;

/// The longest value that is looked for, in bytes.
const LONGEST: usize = 1024;

/// The query of every address below `/activity`. What is empty is not asked for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    range: String,
    person: String,
    upstream: String,
    client: String,
    tool: String,
    action: String,
    since: String,
    until: String,
    /// Lines before this number.
    pub(super) before: Option<i64>,
    /// Lines behind this number.
    pub(super) after: Option<i64>,
    /// `csv` or `jsonl`.
    pub(super) format: String,
}

/// What somebody wants of the log, and may have.
pub(super) struct Question {
    /// As it stands in addresses.
    pub(super) choice: Choice,
    /// As the log is asked.
    pub(super) wanted: Wanted,
}

impl Asked {
    /// What figures somebody wants to see. Whatever a member asks for, it is about the member.
    pub(super) fn figures(&self, user: &User) -> (Choice, Range) {
        let range = match self.range.as_str() {
            "hour" => Range::Hour,
            "month" => Range::Month,
            _ => Range::Day,
        };
        let choice = self.choice(user);
        let choice = Choice { range: Choice::name_of(range), since: String::new(), until: String::new(), ..choice };
        (choice, range)
    }

    /// What lines somebody wants to see. A member's begin with the member, who may have the name of somebody from before.
    ///
    /// # Errors
    /// Why that cannot be looked for.
    pub(super) fn question(&self, user: &User) -> Result<Question, &'static str> {
        const TIME: &str = "That is no time: write it as 2026-01-31T12:00, in UTC.";
        let mut question = self.shown(user);
        let values = [&self.person, &self.upstream, &self.client, &self.tool, &self.action];
        if values.iter().any(|value| value.len() > LONGEST) {
            return Err("That is too long to be looked for: give a part of it less, or nothing.");
        }
        let since = moment(&self.since).map_err(|()| TIME)?;
        let until = moment(&self.until).map_err(|()| TIME)?;
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            return Err("The time ends before it begins: give an earlier beginning, or a later end.");
        }
        let written = |moment: Option<Timestamp>| moment.map(Timestamp::to_rfc3339).unwrap_or_default();
        question.choice.since = written(since);
        question.choice.until = written(until);
        question.wanted.since = match user.role {
            Role::Administrator => since,
            Role::Member => since.max(Some(user.created_at)),
        };
        question.wanted.until = until;
        Ok(question)
    }

    /// The same without times.
    pub(super) fn shown(&self, user: &User) -> Question {
        let choice = Choice { since: String::new(), until: String::new(), ..self.choice(user) };
        let some = |value: &String| (!value.is_empty()).then(|| value.clone());
        let wanted = Wanted {
            actor: some(&choice.person),
            action: some(&choice.action),
            upstream: some(&choice.upstream),
            client: some(&choice.client),
            tool: some(&choice.tool),
            since: (user.role == Role::Member).then_some(user.created_at),
            until: None,
        };
        Question { choice, wanted }
    }

    fn choice(&self, user: &User) -> Choice {
        let value = |text: &str| text.trim().to_owned();
        Choice {
            range: "",
            person: match user.role {
                Role::Administrator => value(&self.person),
                Role::Member => user.name.clone(),
            },
            upstream: value(&self.upstream).to_ascii_lowercase(),
            client: value(&self.client),
            tool: value(&self.tool),
            action: value(&self.action),
            since: value(&self.since),
            until: value(&self.until),
        }
    }
}

/// A time of RFC 3339, or one without seconds or without a zone, which is in UTC; `None` when it is empty.
fn moment(text: &str) -> Result<Option<Timestamp>, ()> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let endings = ["", "Z", ":00Z", "T00:00:00Z"];
    let moment = endings.iter().find_map(|ending| Timestamp::from_rfc3339(&format!("{text}{ending}")));
    moment.map(Some).ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_browsers_and_people_write_them() {
        let noon = Timestamp::from_rfc3339("2026-01-31T12:00:00Z");
        for text in ["2026-01-31T12:00", " 2026-01-31T12:00:00 ", "2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00"] {
            assert_eq!(moment(text), Ok(noon), "{text}");
        }
        assert_eq!(moment("2026-01-31"), Ok(Timestamp::from_rfc3339("2026-01-31T00:00:00Z")));
        assert_eq!(moment("  "), Ok(None));
        for bad in ["yesterday", "2026-02-30", "12:00", "2026-01-31T25:00"] {
            assert_eq!(moment(bad), Err(()), "{bad}");
        }
    }
}
