//! `/audit`: who did what.

use super::answer::Listed;
use super::door::Administrator;
use super::extract::Query;
use super::problem::Problem;
use crate::administration::records::AuditEvent;
use crate::administration::{AuditFilter, PageRequest};

/// Read the audit log
///
/// Newest first.
#[utoipa::path(get, path = "/audit", operation_id = "list_audit", tag = "audit", params(AuditFilter, PageRequest))]
pub(super) async fn list(
    admin: Administrator,
    Query(filter): Query<AuditFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Listed<AuditEvent>, Problem> {
    Ok(Listed(admin.may().audit_log(&filter, &page).await?))
}
