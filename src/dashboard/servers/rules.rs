//! From ticks to rules, and from rules to ticks.

use super::live::Tool;
use crate::administration::records::ToolRules;
use crate::mcp::{Pattern, ToolPolicy, Verdict};
use std::collections::BTreeSet;

/// What a person wants, as the form says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// Whether only what is ticked may be used, so that tools which appear later may not.
    pub(super) only_ticked: bool,
    /// The tools that the form showed,
    pub(super) shown: BTreeSet<String>,
    /// and those of them that are ticked.
    pub(super) ticked: BTreeSet<String>,
    /// Other patterns that allow.
    pub(super) allowed: Vec<String>,
    /// Other patterns that deny.
    pub(super) denied: Vec<String>,
}

/// Whether a tool's tick is set, whether it can be changed, and why it is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    /// It may be used, as far as administrators say.
    pub(super) set: bool,
    /// A tick changes nothing.
    pub(super) fixed: bool,
    /// Where it does not show by itself.
    pub(super) why: Option<String>,
}

/// The rules by which exactly what is wanted may be used. Tools that the form did not show stay as they are.
pub(super) fn of_wish(wish: &Wish, tools: &[Tool], before: &ToolRules) -> ToolRules {
    let before = policy(before);
    let mut rules = ToolRules { allow: wish.only_ticked.then(|| wish.allowed.clone()), deny: wish.denied.clone() };
    let patterns = policy(&rules);
    for tool in tools.iter().filter(|tool| Pattern::of_name(&tool.name).is_some()) {
        let wanted = match wish.shown.contains(&tool.name) {
            true => wish.ticked.contains(&tool.name),
            false => permits(before.as_ref(), &tool.name),
        };
        match (wanted, patterns.as_ref().map_or(Verdict::Permitted, |patterns| patterns.verdict(&tool.name))) {
            (true, Verdict::NotAllowed) => rules.allow.get_or_insert_default().push(tool.name.clone()),
            (false, Verdict::Permitted) => rules.deny.push(tool.name.clone()),
            _ => {}
        }
    }
    rules
}

/// How a tool stands under these rules, and under those of the configuration.
pub(super) fn tick(tool: &Tool, rules: &ToolRules, configured: Option<&ToolPolicy>) -> Tick {
    let refused_there = configured.is_some_and(|configured| !configured.permits(&tool.name));
    let also = refused_there.then(|| "The configuration does not let it be used.".to_owned());
    if Pattern::of_name(&tool.name).is_none() {
        let why = "Its name cannot be written as a rule: it follows what is said about later tools.".to_owned();
        return Tick { set: permits(policy(rules).as_ref(), &tool.name), fixed: true, why: also.or(Some(why)) };
    }
    let own = policy(rules);
    match own.as_ref().map_or(Verdict::Permitted, |policy| policy.verdict(&tool.name)) {
        Verdict::Permitted => Tick { set: true, fixed: false, why: also },
        Verdict::NotAllowed => Tick { set: false, fixed: false, why: also },
        Verdict::Denied(pattern) if pattern.to_string() == tool.name => Tick { set: false, fixed: false, why: also },
        Verdict::Denied(pattern) => {
            Tick { set: false, fixed: true, why: Some(format!("Never, because of the pattern {pattern} below.")) }
        }
    }
}

/// The patterns of a list that are not the names of tools which have a tick.
pub(super) fn beside_ticks(patterns: &[String], tools: &[Tool]) -> Vec<String> {
    let has_tick =
        |pattern: &String| tools.iter().any(|tool| tool.name == *pattern) && Pattern::of_name(pattern).is_some();
    patterns.iter().filter(|pattern| !has_tick(pattern)).cloned().collect()
}

/// The rules in a sentence.
pub(super) fn in_words(rules: Option<&ToolRules>, tools: Option<&[Tool]>) -> String {
    let Some(rules) = rules else { return "All of them may be used, and those that it gains later.".to_owned() };
    let policy = policy(rules);
    let count = tools.map(|tools| {
        let permitted = tools.iter().filter(|tool| permits(policy.as_ref(), &tool.name)).count();
        format!("{permitted} of {} may be used. ", tools.len())
    });
    let later = match &rules.allow {
        None => "Those that it gains later may be used as well",
        Some(_) => "Those that it gains later may not be used until somebody ticks them",
    };
    let patterns = rules.deny.iter().chain(rules.allow.iter().flatten()).any(|pattern| pattern.contains(['*', '?']));
    let unless = if patterns { ", unless a pattern says otherwise" } else { "" };
    format!("{}{later}{unless}.", count.unwrap_or_default())
}

/// What was stored is valid; what is not yet stored may not be, and then permits nothing until somebody says so.
fn policy(rules: &ToolRules) -> Option<ToolPolicy> {
    let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>();
    match (rules.allow.as_deref().map(patterns).transpose(), patterns(&rules.deny)) {
        (Ok(allow), Ok(deny)) => ToolPolicy::new(allow, deny),
        _ => Some(ToolPolicy::nothing()),
    }
}

fn permits(policy: Option<&ToolPolicy>, tool: &str) -> bool {
    policy.is_none_or(|policy| policy.permits(tool))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn tools(names: &[&str]) -> Vec<Tool> {
        names.iter().map(|name| Tool { name: (*name).to_owned(), ..Tool::default() }).collect()
    }

    fn rules(allow: Option<&[&str]>, deny: &[&str]) -> ToolRules {
        ToolRules { allow: allow.map(texts), deny: texts(deny) }
    }

    fn wish(only_ticked: bool, shown: &[&str], ticked: &[&str]) -> Wish {
        let set = |list: &[&str]| texts(list).into_iter().collect();
        Wish { only_ticked, shown: set(shown), ticked: set(ticked), ..Wish::default() }
    }

    #[test]
    fn ticks_become_exactly_such_rules() {
        let (all, none) = (tools(&["get_a", "get_b", "drop"]), ToolRules::default());
        let shown = ["get_a", "get_b", "drop"];
        assert_eq!(of_wish(&wish(false, &shown, &shown), &all, &none), none, "nothing is limited");
        assert_eq!(of_wish(&wish(false, &shown, &["get_a", "get_b"]), &all, &none), rules(None, &["drop"]));
        assert_eq!(of_wish(&wish(true, &shown, &["get_a"]), &all, &none), rules(Some(&["get_a"]), &[]));
        assert_eq!(of_wish(&wish(true, &shown, &[]), &all, &none), rules(Some(&[]), &[]), "none at all");
    }

    #[test]
    fn patterns_and_ticks_go_together() {
        let (all, none) = (tools(&["get_a", "get_b", "drop"]), ToolRules::default());
        let mut wish = wish(true, &["get_a", "get_b", "drop"], &["get_a", "drop"]);
        wish.allowed = texts(&["get_*"]);
        assert_eq!(of_wish(&wish, &all, &none), rules(Some(&["get_*", "drop"]), &["get_b"]));
        wish.denied = texts(&["DROP*"]);
        // What a pattern denies no tick allows.
        let made = of_wish(&wish, &all, &none);
        assert_eq!(made, rules(Some(&["get_*"]), &["DROP*", "get_b"]));
        let ticks: Vec<_> = all.iter().map(|tool| tick(tool, &made, None)).map(|tick| (tick.set, tick.fixed)).collect();
        assert_eq!(ticks, [(true, false), (false, false), (false, true)]);
        assert_eq!(beside_ticks(&made.deny, &all), ["DROP*"]);
        assert_eq!(beside_ticks(made.allow.as_deref().unwrap(), &all), ["get_*"]);
    }

    #[test]
    fn what_the_form_did_not_show_stays_as_it_is() {
        let all = tools(&["a", "b", "c", "d"]);
        let before = rules(None, &["c"]);
        assert_eq!(of_wish(&wish(false, &["a", "b"], &["b"]), &all, &before), rules(None, &["a", "c"]));
        assert_eq!(of_wish(&wish(true, &["a", "b"], &["b"]), &all, &before), rules(Some(&["b", "d"]), &[]));
    }

    #[test]
    fn names_that_are_no_rules_have_no_tick() {
        let odd = tools(&["a*", "with space"]);
        assert_eq!(
            of_wish(&wish(false, &["a*", "with space"], &[]), &odd, &ToolRules::default()),
            ToolRules::default()
        );
        for tool in &odd {
            assert!(tick(tool, &ToolRules::default(), None).fixed && tick(tool, &ToolRules::default(), None).set);
        }
        let configured = ToolPolicy::nothing();
        assert!(
            tick(&tools(&["x"])[0], &ToolRules::default(), Some(&configured)).why.unwrap().contains("configuration")
        );
    }

    #[test]
    fn rules_in_words() {
        let all = tools(&["a", "b"]);
        assert!(in_words(None, Some(&all)).starts_with("All of them"));
        let words = in_words(Some(&rules(Some(&["a"]), &[])), Some(&all));
        assert_eq!(words, "1 of 2 may be used. Those that it gains later may not be used until somebody ticks them.");
        assert!(in_words(Some(&rules(None, &["x*"])), None).ends_with("unless a pattern says otherwise."));
    }
}
