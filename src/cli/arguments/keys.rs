//! `portcullis keys`, `portcullis certificates` and `portcullis vault`.

use crate::jose::SigningAlgorithm;
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(in crate::cli) enum KeysCommand {
    /// List the signing keys, what each of them does, and until when
    List,
    /// Make a new signing key
    ///
    /// The new key is published at once and signs a day later, so that whoever keeps a copy of the key set knows it by then. The
    /// old key then signs no more; what it signed stays good until it expires. `tokens.key_rotation` does this by schedule.
    Rotate {
        /// What the new key signs with: ES256 or EdDSA; without it what `tokens.signing_algorithm` says
        #[arg(long)]
        algorithm: Option<SigningAlgorithm>,
        /// For a key that has leaked: the new key signs at once, and every other key is removed with everything it signed
        ///
        /// All access tokens that are out are refused within a second on every node, and open streams end. Clients get new ones
        /// with their refresh tokens; nobody has to sign in again. Services that verify tokens with a copy of the key set
        /// refuse the new tokens, and accept the old, until they fetch it again (after five minutes at most, where they
        /// heed what we say).
        #[arg(long)]
        now: bool,
    },
}

#[derive(Subcommand)]
pub(in crate::cli) enum CertificatesCommand {
    /// List what there is and what is still to be ordered, and why the last order failed
    List,
    /// Have the gateway order a certificate anew at once, or all
    ///
    /// For one that was revoked, or whose order failed for a reason that is mended: without this the next attempt comes after
    /// minutes to hours. The present certificate stays until the next one is there.
    Renew {
        /// The first of its names; without it all certificates
        name: Option<String>,
    },
}

#[derive(Subcommand)]
pub(in crate::cli) enum VaultCommand {
    /// Make a new vault key and print it
    Keygen {
        /// Write it to a new file instead, for its owner alone
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Have the PKCS#11 token of `[vault.pkcs11]` wrap a vault key, and print what belongs into `vault.key_file`
    Wrap {
        /// The file of a vault key in the clear; without it a new key is made
        key_file: Option<PathBuf>,
        /// Write it to a new file instead, for its owner alone
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// How many values are sealed with which vault key
    Status,
    /// Wrap every stored value anew that is sealed with an earlier vault key, while gateways run
    ///
    /// Only the wrapped data key of a value changes. It can be stopped at any moment and goes on where it was. At the end it
    /// says which keys nothing needs any more.
    Rewrap {
        /// No gateway is running
        #[arg(long)]
        offline: bool,
    },
}
