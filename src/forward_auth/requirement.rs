//! What the recipe of a proxy asks for beyond being signed in: `/verify?group=dev&group=ops&role=administrator`.

use super::answer::Refused;
use crate::store::{Role, User};

/// One of these groups, if there are any, and this role.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Requirement {
    groups: Vec<String>,
    role: Option<Role>,
}

impl Requirement {
    /// Reads the query. What is not understood is an error: a requirement with a typing error must not let everybody in.
    ///
    /// # Errors
    /// [`Refused::BadRequest`].
    pub(super) fn parse(query: &str) -> Result<Self, Refused> {
        let mut requirement = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match (&*name, &*value) {
                ("group", group) if !group.is_empty() => requirement.groups.push(group.to_owned()),
                ("role", "administrator") => requirement.role = Some(Role::Administrator),
                ("role", "member") => requirement.role = Some(Role::Member),
                _ => {
                    let why = "/verify knows group=NAME and role=administrator or role=member, and nothing else";
                    return Err(Refused::BadRequest(why.to_owned()));
                }
            }
        }
        Ok(requirement)
    }

    /// Whether somebody fulfils it. An administrator is a member, too.
    ///
    /// # Errors
    /// [`Refused::NotPermitted`].
    pub(super) fn check(&self, user: &User, groups: &[String]) -> Result<(), Refused> {
        let in_group = self.groups.is_empty() || self.groups.iter().any(|group| groups.contains(group));
        let has_role = self.role != Some(Role::Administrator) || user.role == Role::Administrator;
        if in_group && has_role { Ok(()) } else { Err(Refused::NotPermitted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_with_a_typing_error_lets_nobody_in() {
        let both = Requirement::parse("group=dev&group=R%26D&role=administrator").unwrap();
        assert_eq!(both.groups, ["dev", "R&D"]);
        assert_eq!(both.role, Some(Role::Administrator));
        assert_eq!(Requirement::parse("").unwrap(), Requirement::default());
        for wrong in ["gruop=dev", "group=", "group", "role=admin", "rd=https://evil.example/", "group=dev&x=y"] {
            assert!(matches!(Requirement::parse(wrong), Err(Refused::BadRequest(_))), "{wrong}");
        }
    }
}
