//! The rooms of the dashboard, and who is in them.

/// Who is signed in, for the bar on top of a page.
pub struct Account<'a> {
    /// The user name.
    pub name: &'a str,
    /// The session's token, for every form.
    pub csrf_token: &'a str,
    /// Whether the rooms of administrators are open.
    pub administrator: bool,
    /// What the person has just done, told once.
    pub notice: Option<&'a str>,
}

/// A room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Make a URL.
    Start,
    /// What the person has connected.
    Connections,
    /// What happened.
    Activity,
    /// Upstreams, approvals, permissions.
    Servers,
    /// Who may sign in.
    People,
    /// Clients, grants, API keys, services.
    Programs,
    /// Certificates, nodes, configuration, version; the doctor.
    System,
    /// The person's own; its way is the name in the bar.
    Account,
}

impl Place {
    /// In the order of the navigation.
    pub const ALL: [Place; 7] = [
        Place::Start,
        Place::Connections,
        Place::Activity,
        Place::Servers,
        Place::People,
        Place::Programs,
        Place::System,
    ];

    pub(super) fn is_for_administrators(self) -> bool {
        matches!(self, Place::Servers | Place::People | Place::Programs | Place::System)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Place::Start => "Start",
            Place::Connections => "Connections",
            Place::Activity => "Activity",
            Place::Servers => "Servers",
            Place::People => "People",
            Place::Programs => "Programs",
            Place::System => "System",
            Place::Account => "Your account",
        }
    }

    /// Its address.
    pub fn address(self) -> &'static str {
        match self {
            Place::Start => "/",
            Place::Connections => "/connections",
            Place::Activity => "/activity",
            Place::Servers => "/servers",
            Place::People => "/people",
            Place::Programs => "/programs",
            Place::System => "/system",
            Place::Account => "/account",
        }
    }
}
