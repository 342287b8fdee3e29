//! Which tools administrators permit, beside what the configuration says.

use super::Upstream;
use crate::error::Fault;
use crate::hostname::Authority;
use crate::mcp::{Pattern, ToolPolicy};
use crate::store::{Store, UpstreamTools};
use std::collections::HashMap;
use std::sync::Arc;

/// What they said about all upstreams.
pub(super) async fn load(store: &Store) -> Result<HashMap<Authority, ToolPolicy>, Fault> {
    let rows = store.upstream_tools().await?.into_iter();
    Ok(rows.filter_map(|row| Some((Authority::parse(&row.authority).ok()?, policy(&row)?))).collect())
}

/// The upstream with the tools that the configuration and the administrators permit.
pub(super) fn limited(upstream: Arc<Upstream>, said: &HashMap<Authority, ToolPolicy>) -> Arc<Upstream> {
    let Some(said) = said.get(&upstream.authority) else { return upstream };
    let tools = match &upstream.tools {
        Some(configured) => configured.clone().and(said),
        None => said.clone(),
    };
    Arc::new(Upstream { tools: Some(tools), ..Upstream::clone(&upstream) })
}

/// A pattern that cannot be read permits nothing: it may have been there to deny.
fn policy(row: &UpstreamTools) -> Option<ToolPolicy> {
    let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>();
    match (row.allowed.as_deref().map(patterns).transpose(), patterns(&row.denied)) {
        (Ok(allowed), Ok(denied)) => ToolPolicy::new(allowed, denied),
        (Err(why), _) | (_, Err(why)) => {
            tracing::error!(authority = row.authority, %why, "the database limits tools by what is no pattern: none may be used");
            Some(ToolPolicy::nothing())
        }
    }
}
