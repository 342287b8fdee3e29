//! `/people/{id}/sure/{deed}`: what ends sessions, grants or an account is asked once more, on a page of its own that says what
//! follows from it in numbers.

use super::address_of;
use super::deeds::streams;
use crate::administration::records::{Role, User, UserChange};
use crate::administration::{Actor, Refused};
use crate::dashboard::failure::{Failure, said, see_other};
use crate::dashboard::sent::Deciding;
use crate::dashboard::{Dashboard, rows};
use crate::page::{self, PersonExtent, Place, SurePage, counted};
use crate::session::SignedIn;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use std::sync::Arc;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Demote,
    Disable,
    Delete,
    Reset,
    SignOut,
}

/// `GET /people/{id}/sure/{deed}`
pub(super) async fn ask(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Path((id, deed)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, &address_of(&id)).await?;
    let deed = Deed::of(&deed).ok_or(Failure::NotFound)?;
    let user = dashboard.administration.user(&id).await?;
    dashboard.sure_page(&person, &user, deed, (StatusCode::OK, None)).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SureForm {
    applications: String,
}

/// `POST /people/{id}/sure/{deed}`
pub(super) async fn go(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Path((id, deed)): Path<(String, String)>,
    Deciding(sent): Deciding<SureForm>,
) -> Result<Response, Failure> {
    // A stranger learns nothing from an address.
    let deed = Deed::of(&deed).ok_or(Failure::NotFound)?;
    let back = format!("{}/sure/{}", address_of(&id), deed.name());
    if deed != Deed::SignOut {
        dashboard.must_be_recent(&sent.person, &back)?;
    }
    let user = dashboard.administration.user(&id).await?;
    let oneself = sent.person.user.id.to_string() == user.id;
    if oneself && deed == Deed::Reset {
        let why = "Change how you sign in on the page of your own account.";
        return dashboard.sure_page(&sent.person, &user, deed, (StatusCode::CONFLICT, Some(why))).await;
    }
    let before = dashboard.person_extent(&user).await?;
    match dashboard.perform(&sent.actor(), (deed, &user), sent.form.applications == "end").await {
        Ok(grants) => {
            let signed_out = oneself && deed != Deed::Demote;
            if signed_out {
                let mut response = see_other("/");
                response.headers_mut().append(header::SET_COOKIE, dashboard.sessions.end(&headers).await?);
                return Ok(response);
            }
            let to = match deed {
                Deed::Delete => Place::People.address().to_owned(),
                // Who is no administrator any more has no page of people.
                Deed::Demote if oneself => Place::Start.address().to_owned(),
                _ => address_of(&user.id),
            };
            let notice = deed.done(&user.name, PersonExtent { grants, ..before });
            Ok(dashboard.done(&sent.person, &to, &notice))
        }
        Err(refused) => {
            let (status, why) = said(refused)?;
            dashboard.sure_page(&sent.person, &user, deed, (status, Some(&why))).await
        }
    }
}

impl Dashboard {
    /// How many grants ended.
    async fn perform(&self, actor: &Actor, (deed, user): (Deed, &User), applications: bool) -> Result<i64, Refused> {
        let (id, administration) = (&user.id, &self.administration);
        let before = administration.grants_in_force(id).await?;
        let change = UserChange::default;
        Ok(match deed {
            Deed::Demote => {
                administration.change_user(actor, id, &UserChange { role: Some(Role::Member), ..change() }).await?;
                0
            }
            Deed::Disable => {
                administration.change_user(actor, id, &UserChange { disabled: Some(true), ..change() }).await?;
                before
            }
            Deed::Delete => i64::try_from(administration.delete_user(actor, id).await?.grants).unwrap_or(i64::MAX),
            Deed::Reset => {
                administration.reset_factors(actor, id).await?;
                0
            }
            Deed::SignOut => {
                let ended = administration.sign_out_everywhere(actor, id, applications).await?;
                i64::try_from(ended.grants).unwrap_or(i64::MAX)
            }
        })
    }

    async fn sure_page(
        &self,
        person: &SignedIn,
        user: &User,
        deed: Deed,
        (status, error): (StatusCode, Option<&str>),
    ) -> Result<Response, Failure> {
        let oneself = person.user.id.to_string() == user.id;
        let extent = self.person_extent(user).await?;
        let (title, button) = deed.question(&user.name);
        let back = address_of(&user.id);
        let choice = "End what clients may do for the person as well, with their open streams";
        Ok(page::sure(&SurePage {
            status,
            account: rows::account(person),
            error,
            title: &title,
            oneself,
            consequences: deed.consequences(&user.name, extent),
            choice: (deed == Deed::SignOut).then_some(("applications", "end", choice)),
            action: &format!("{back}/sure/{}", deed.name()),
            button: &button,
            back: &back,
        }))
    }
}

impl Deed {
    const ALL: [Deed; 5] = [Deed::Demote, Deed::Disable, Deed::Delete, Deed::Reset, Deed::SignOut];

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|deed| deed.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Deed::Demote => "demote",
            Deed::Disable => "disable",
            Deed::Delete => "delete",
            Deed::Reset => "reset",
            Deed::SignOut => "sign-out",
        }
    }

    /// The question, and what the button says.
    fn question(self, name: &str) -> (String, String) {
        match self {
            Deed::Demote => (format!("Make {name} a member?"), "Make a member".to_owned()),
            Deed::Disable => (format!("Disable {name}?"), format!("Disable {name}")),
            Deed::Delete => (format!("Delete {name}?"), format!("Delete {name}")),
            Deed::Reset => (format!("Reset the second factors of {name}?"), "Reset them".to_owned()),
            Deed::SignOut => (format!("Sign {name} out everywhere?"), "Sign out everywhere".to_owned()),
        }
    }

    fn consequences(self, name: &str, extent: PersonExtent) -> Vec<String> {
        let sessions = format!("{} at once.", ends(extent.sessions, "signed-in browser"));
        let grants = format!("{}, with what is open: {} now.", ends(extent.grants, "grant"), streams(extent.streams));
        let kept = format!("{} kept, and cannot be used meanwhile.", is_or_are(extent.connections, "connection"));
        match self {
            Deed::Demote => vec![
                format!("{name} no longer approves servers, and no longer sees or changes what others have."),
                "Programs that administer the gateway for this person lose that at once.".to_owned(),
                "Sessions, connections and other grants stay.".to_owned(),
            ],
            Deed::Disable => {
                let name = format!("Nobody can sign in as {name} until an administrator allows it again.");
                vec![name, sessions, grants, kept]
            }
            Deed::Delete => vec![
                "This cannot be undone; somebody of the same name later is somebody else.".to_owned(),
                sessions,
                grants,
                format!("{}, with its tokens.", ends(extent.connections, "connection")),
            ],
            Deed::Reset => vec![
                "Authenticator app, passkeys and recovery codes are gone: the password, or a sign-in elsewhere, is enough."
                    .to_owned(),
                sessions,
                "Do this only for somebody who you know is the person: whoever asks by e-mail may be somebody else."
                    .to_owned(),
            ],
            Deed::SignOut => vec![sessions, "Clients keep their access, unless you end it below.".to_owned()],
        }
    }

    /// What was done, in words.
    fn done(self, name: &str, ended: PersonExtent) -> String {
        let PersonExtent { sessions, grants, connections, streams: open } = ended;
        let sessions = counted(sessions, "session");
        let (grants, with_grants) = (counted(grants, "grant"), if grants == 0 { 0 } else { open });
        let open = streams(with_grants);
        match self {
            Deed::Demote => format!("{name} is a member now."),
            Deed::Disable => format!("{name} is disabled: {sessions}, {grants} and {open} ended."),
            Deed::Delete => {
                let connections = counted(connections, "connection");
                format!("{name} is deleted: {sessions}, {grants}, {connections} and {open} ended.")
            }
            Deed::Reset => format!("{name} has no second factor now; {sessions} ended."),
            Deed::SignOut => format!("{name} is signed out: {sessions}, {grants} and {open} ended."),
        }
    }
}

/// `3 grants end`
fn ends(number: i64, what: &str) -> String {
    capital(&format!("{} {}", counted(number, what), if number == 1 { "ends" } else { "end" }))
}

/// `3 connections are`
fn is_or_are(number: i64, what: &str) -> String {
    capital(&format!("{} {}", counted(number, what), if number == 1 { "is" } else { "are" }))
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consequences_are_numbers() {
        let extent = PersonExtent { sessions: 2, connections: 1, grants: 0, streams: 3 };
        let all = Deed::Disable.consequences("bob", extent).join("\n");
        assert!(all.contains("2 signed-in browsers end at once."), "{all}");
        assert!(all.contains("No grants end, with what is open: 3 open streams now."), "{all}");
        assert!(all.contains("One connection is kept"), "{all}");
        for deed in Deed::ALL {
            assert_eq!(Deed::of(deed.name()), Some(deed));
        }
        assert_eq!(Deed::of("promote"), None);
    }
}
