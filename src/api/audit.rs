//! `/audit`: who did what.

use super::answer::Found;
use super::door::Administrator;
use super::extract::Query;
use super::problem::Problem;
use crate::administration::records::AuditEvent;
use crate::administration::{AuditFilter, Page, PageRequest};

/// Read the audit log
///
/// Newest first.
#[utoipa::path(get, path = "/audit", operation_id = "list_audit", tag = "audit")]
pub(super) async fn list(
    admin: Administrator,
    Query(filter): Query<AuditFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Found<Page<AuditEvent>>, Problem> {
    Ok(Found(admin.may().audit_log(&filter, &page).await?))
}
