//! Which tools of an upstream may be used.

/// `tools.allow` and `tools.deny` of one upstream, of everybody who has a say in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolPolicy {
    /// A tool is in each of these lists.
    allow: Vec<Vec<Pattern>>,
    deny: Vec<Pattern>,
}

/// What becomes of a tool, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It may be listed and called.
    Permitted,
    /// This pattern denies it.
    Denied(&'a Pattern),
    /// Only others are allowed.
    NotAllowed,
}

impl ToolPolicy {
    /// Without `allow`, everything is allowed that is not denied. `None` when nothing is limited at all.
    pub fn new(allow: Option<Vec<Pattern>>, deny: Vec<Pattern>) -> Option<Self> {
        (allow.is_some() || !deny.is_empty()).then_some(Self { allow: allow.into_iter().collect(), deny })
    }

    /// No tool at all.
    pub fn nothing() -> Self {
        Self { allow: vec![Vec::new()], deny: Vec::new() }
    }

    /// What is allowed: a tool is in each of these lists.
    pub fn allow(&self) -> &[Vec<Pattern>] {
        &self.allow
    }

    /// What is denied.
    pub fn deny(&self) -> &[Pattern] {
        &self.deny
    }

    /// What both of them permit.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.allow.extend_from_slice(&other.allow);
        self.deny.extend_from_slice(&other.deny);
        self
    }

    /// Whether a tool may be listed and called. What is denied stays denied, whatever else allows it, and in every spelling
    /// that differs only in ASCII case: a server that does not tell them apart must not be a way around.
    pub fn permits(&self, tool: &str) -> bool {
        self.verdict(tool) == Verdict::Permitted
    }

    /// The same with the reason.
    pub fn verdict(&self, tool: &str) -> Verdict<'_> {
        let denies = |pattern: &&Pattern| pattern.matches(tool, |a, b| a.eq_ignore_ascii_case(&b));
        let allowed = |allow: &Vec<Pattern>| allow.iter().any(|pattern| pattern.matches(tool, |a, b| a == b));
        match self.deny.iter().find(denies) {
            Some(pattern) => Verdict::Denied(pattern),
            None if self.allow.iter().all(allowed) => Verdict::Permitted,
            None => Verdict::NotAllowed,
        }
    }
}

/// A tool's name in which `*` stands for any characters, none included, and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<[char]>);

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|&c| std::fmt::Write::write_char(f, c))
    }
}

impl Pattern {
    /// The pattern that means one tool and no other; `None` for a name that cannot be written as one.
    pub fn of_name(tool: &str) -> Option<Self> {
        Self::parse(tool).ok().filter(|_| !tool.contains(['*', '?']))
    }

    /// Reads a pattern.
    ///
    /// # Errors
    /// A sentence: when it is empty, or has what other tools give a meaning to and we do not.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(format!("{text:?} is not a tool's name: write it like \"get_*\""));
        }
        if text.contains(['[', ']', '{', '}', '\\', '!']) {
            return Err(format!("{text:?}: only * and ? have a meaning here; list alternatives one by one"));
        }
        Ok(Self(text.chars().collect()))
    }

    /// The time is bounded by the product of both lengths, whatever the pattern: only the last `*` is ever gone back to.
    fn matches(&self, name: &str, same: impl Fn(char, char) -> bool) -> bool {
        let mut pattern = &*self.0;
        let mut rest = name.chars();
        // After the last `*`: the pattern behind it, and where in the name it was tried last.
        let mut star: Option<(&[char], std::str::Chars<'_>)> = None;
        loop {
            let mut next = rest.clone();
            match (pattern, next.next()) {
                (['*', after @ ..], _) => {
                    star = Some((after, rest.clone()));
                    pattern = after;
                    continue;
                }
                ([expected, after @ ..], Some(c)) if *expected == '?' || same(*expected, c) => {
                    (pattern, rest) = (after, next);
                    continue;
                }
                ([], None) => return true,
                _ => {}
            }
            let Some((after, from)) = &mut star else { return false };
            if from.next().is_none() {
                return false;
            }
            (pattern, rest) = (after, from.clone());
        }
    }
}
