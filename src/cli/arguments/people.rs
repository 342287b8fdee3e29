//! `portcullis user`, and who is in which group.

use clap::Subcommand;

#[derive(Subcommand)]
pub(in crate::cli) enum UserCommand {
    /// Add a person
    Add {
        /// 1 to 64 characters of A-Z a-z 0-9 . _ @ -
        name: String,
        /// May approve MCP servers and manage people
        #[arg(long)]
        admin: bool,
        #[command(flatten)]
        password: Password,
    },
    /// List everybody
    List,
    /// Give a person a new password and sign the person out everywhere
    Passwd {
        /// Who
        name: String,
        #[command(flatten)]
        password: Password,
    },
    /// Take authenticator app, passkeys and recovery codes away from a person who is locked out, and sign the person out
    ResetFactors {
        /// Who
        name: String,
    },
    /// Remove a person with everything that belongs to the person; what is open ends
    Remove {
        /// Who
        name: String,
    },
    /// Let nobody sign in as this person; sessions and grants end, connections stay
    Disable {
        /// Who
        name: String,
    },
    /// Let a person sign in again; clients ask for consent again
    Enable {
        /// Who
        name: String,
    },
    /// Make a person an administrator or a member
    Role {
        /// Who
        name: String,
        /// What
        role: RoleName,
    },
    /// Groups, for permissions
    Group {
        #[command(subcommand)]
        command: GroupCommand,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(in crate::cli) enum RoleName {
    /// Approves MCP servers, manages people
    Administrator,
    /// Connects accounts, lets clients in
    Member,
}

#[derive(Subcommand)]
pub(in crate::cli) enum GroupCommand {
    /// Put a person into a group; it need not be there before
    Add {
        /// Who
        name: String,
        /// Into which, to the letter
        group: String,
    },
    /// Take a person out of a group; what only its members may use ends
    Remove {
        /// Who
        name: String,
        /// Out of which
        group: String,
    },
    /// List the groups that have members
    List,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Password {
    /// Read the password from the first line of standard input
    #[arg(long, required = true)]
    password_stdin: bool,
}
