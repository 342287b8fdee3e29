//! Pages for people: templates that escape by default, one style sheet, and the headers that every page carries. No page
//! needs JavaScript: one small module adds copy buttons, and another one passkeys, which do not exist without.

mod account;
mod answer;
mod assets;
mod people;
mod plain;
mod steps;
#[cfg(test)]
mod tests;

pub use account::{
    AccountPage, CodePage, CodesPage, EnrolPage, IdentitiesSection, IdentityRow, PasskeyRow, ServiceRow, SessionRow,
    account, code, codes, enrol,
};
pub use assets::asset;
pub use people::{
    Account, Command, ConnectionRow, EncodedPage, GrantRow, HomePage, LandingPage, LoginPage, SetupPage, UpstreamRow,
    encoded, home, landing, login, setup,
};
pub use steps::{
    ApprovalPage, ConnectPage, ConsentPage, Destination, DevicePage, MessagePage, approval, connect, consent, device,
    message, plain_name,
};
