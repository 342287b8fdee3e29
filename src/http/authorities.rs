//! The certificate authorities that this system trusts.

use rustls_pki_types::CertificateDer;
use std::path::Path;

/// Where distributions keep all authorities in one file.
const BUNDLES: [&str; 4] = [
    // Debian and what comes of it, Gentoo, Arch Linux.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, Red Hat.
    "/etc/pki/tls/certs/ca-bundle.crt",
    // SUSE.
    "/etc/ssl/ca-bundle.pem",
    // Alpine.
    "/etc/ssl/cert.pem",
];

/// The file with all of them, where there is one and the environment names no other place. It is read in a twentieth of the
/// time that the directory of its parts takes, which counts when a gateway starts.
pub fn system_bundle() -> Option<&'static Path> {
    let elsewhere = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().any(|name| std::env::var_os(name).is_some());
    let bundle = || BUNDLES.into_iter().map(Path::new).find(|path| path.is_file());
    if elsewhere { None } else { bundle() }
}

/// All of them.
pub(super) fn of_system() -> Vec<CertificateDer<'static>> {
    let bundled = system_bundle().map(|path| rustls_native_certs::load_certs_from_paths(Some(path), None).certs);
    let native = || rustls_native_certs::load_native_certs().certs;
    bundled.filter(|certificates| !certificates.is_empty()).unwrap_or_else(native)
}
