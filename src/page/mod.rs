//! Pages for people: templates that escape by default, one style sheet, and the headers that every page carries. No page
//! needs JavaScript: one small module adds copy buttons, and another one passkeys, which do not exist without.

mod account;
mod activity;
mod answer;
mod assets;
mod connections;
mod doctor;
mod parts;
mod people;
mod place;
mod plain;
mod plot;
mod programs;
mod servers;
mod start;
mod steps;
mod system;
#[cfg(test)]
mod tests;
mod words;

pub use account::{
    AccountPage, CodePage, CodesPage, EndpointSection, EnrolPage, IdentitiesSection, IdentityRow, MemberRow,
    PasskeyRow, ServiceRow, SessionRow, account, code, codes, enrol,
};
pub use activity::{Choice, FIGURES, FiguresPage, LOG, LogLine, LogPage, figures, log};
pub use assets::asset;
pub use connections::{ConnectionRow, ConnectionsPage, GrantRow, HeldRow, HeldUpstream, NextRefresh, connections};
pub use doctor::{DoctorPage, doctor};
pub use parts::{Moment, span};
pub use people::{
    BrowserRow, ElsewhereRow, GroupRow, KeyRow, LinkRow, PeoplePage, PersonExtent, PersonPage, PersonRow, SurePage,
    people, person, sure,
};
pub use place::{Account, Place};
pub use programs::{
    ApiKeyRow, BrokerServiceRow, ClientRow, ClientsPage, GrantsPage, KeysPage, NewClientPage, OncePage,
    PersonsGrantRow, ServiceHolderRow, ServicePage, ServicesPage, clients, grants, keys, new_client, once, service,
    services,
};
pub use servers::{
    AskedRow, PermissionSection, ServerDeeds, ServerPage, ServersPage, ToolRow, ToolsPage, UpstreamExtent, UpstreamRow,
    WaitingRow, counted, server, servers, tools,
};
pub use start::{
    ChecklistItem, Command, EncodedPage, HomePage, LandingPage, LoginPage, OutlookPage, OutlookStep, SetupPage,
    encoded, home, landing, login, outlook, setup,
};
pub use steps::{
    ApprovalPage, ConnectPage, ConsentPage, CredentialField, CredentialPage, Destination, DevicePage, MessagePage,
    approval, connect, consent, credential, device, message, plain_name,
};
pub use system::{
    CertificateRow, ConfigurationPage, NodeRow, NotesPage, SigningKeyRow, SystemPage, UpstreamHealthRow, configuration,
    notes, system,
};
