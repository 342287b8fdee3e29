//! Which tools of an upstream may be used.

use super::records::ToolRules;
use super::{Actor, Administration, Refused};
use crate::hostname::Authority;
use crate::mcp::Pattern;
use crate::store::UpstreamTools;

/// The most patterns in one list.
const MAX_PATTERNS: usize = 1000;
/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 256;

impl Administration {
    /// What administrators said about the tools of an upstream; `None`: nothing.
    ///
    /// # Errors
    /// [`Refused::Failed`].
    pub async fn tool_rules(&self, authority: &Authority) -> Result<Option<ToolRules>, Refused> {
        let mut rows = self.store.upstream_tools().await?.into_iter();
        Ok(rows.find(|row| row.authority == authority.as_str()).map(ToolRules::from))
    }

    /// Says which tools of an upstream may be used, in place of what was said before; what the configuration says counts too.
    /// It holds from the next request on; streams that are open there end, and clients connect again.
    ///
    /// # Errors
    /// [`Refused::Invalid`] for what is no pattern, and for what cannot be an upstream.
    pub async fn permit_tools(&self, actor: &Actor, domain: &str, rules: ToolRules) -> Result<ToolRules, Refused> {
        let authority = self.limitable(domain)?;
        rules.allow.iter().try_for_each(|patterns| check(patterns))?;
        check(&rules.deny)?;
        if rules == ToolRules::default() {
            self.revocations.permit_all_tools(authority.as_str()).await?;
        } else {
            let (allowed, denied) = (rules.allow.clone(), rules.deny.clone());
            self.revocations.permit_tools(&UpstreamTools { authority: authority.to_string(), allowed, denied }).await?;
        }
        self.record(actor, "upstream.tools_permitted", &format!("{authority}: {}", in_words(&rules)));
        Ok(rules)
    }

    fn limitable(&self, domain: &str) -> Result<Authority, Refused> {
        let known = self.registry.all().into_iter().find(|one| one.authority.as_str() == domain);
        let authority = match known {
            // Also a program, whose name nobody can type as a domain.
            Some(known) => return Ok(known.authority.clone()),
            None => super::upstreams::parse(domain)?,
        };
        if authority.is_program() || self.registry.is_own(&authority) {
            return Err(Refused::Invalid(format!(
                "{domain} is no MCP server: the list of all upstreams shows what there is"
            )));
        }
        Ok(authority)
    }
}

fn check(patterns: &[String]) -> Result<(), Refused> {
    if patterns.len() > MAX_PATTERNS {
        return Err(Refused::Invalid(format!("at most {MAX_PATTERNS} patterns: say more with fewer, like \"get_*\"")));
    }
    for pattern in patterns {
        if pattern.len() > MAX_PATTERN {
            return Err(Refused::Invalid(format!("a pattern has at most {MAX_PATTERN} bytes")));
        }
        Pattern::parse(pattern).map_err(Refused::Invalid)?;
    }
    Ok(())
}

/// For the audit log, which shall not grow with the list.
fn in_words(rules: &ToolRules) -> String {
    const SHOWN: usize = 20;
    let list = |patterns: &[String]| {
        let more = patterns.len().saturating_sub(SHOWN);
        let shown = patterns.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        if more == 0 { shown } else { format!("{shown} and {more} more") }
    };
    let allowed = match &rules.allow {
        None => "all".to_owned(),
        Some(patterns) if patterns.is_empty() => "none".to_owned(),
        Some(patterns) => format!("only {}", list(patterns)),
    };
    if rules.deny.is_empty() { allowed } else { format!("{allowed}, but not {}", list(&rules.deny)) }
}

impl From<UpstreamTools> for ToolRules {
    fn from(row: UpstreamTools) -> Self {
        Self { allow: row.allowed, deny: row.denied }
    }
}
