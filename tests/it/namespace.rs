//! Programs that a shell prepares something for, and programs with mounts or a network of their own, which takes root.

use std::env;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// The same program, run by a shell that does something first.
pub fn after(preparation: &str, command: &Command) -> Command {
    let command = command.as_std();
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &format!("{preparation}; exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
    }
    shell
}

/// Whose mounts nobody else sees.
pub fn in_a_namespace(command: &Command) -> Command {
    let inner = command.as_std();
    let mut unshare = Command::new("unshare");
    unshare
        .args(["-m", "--propagation", "private"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_clear()
        .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(inner.get_current_dir().unwrap_or(Path::new("/")))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    unshare
}

/// Runs a test of this program again where there is no network but loopback interfaces, which have this address besides. Whether
/// that is done: no, where it runs again.
pub async fn again_in_a_network_with(test: &str, address: &str) -> bool {
    const THERE: &str = "PORTCULLIS_TEST_NETWORK";
    if env::var_os(THERE).is_some() {
        return false;
    }
    let prepare = format!("ip link set lo up && ip address add {address}/32 dev lo && exec \"$@\"");
    let mut again = Command::new("unshare");
    again.args(["-n", "/bin/sh", "-c", &prepare, "sh"]).arg(env::current_exe().unwrap());
    again.args(["--exact", test, "--ignored", "--nocapture"]).env(THERE, "1");
    assert!(again.status().await.expect("unshare, of util-linux").success(), "{test}, in a network of its own");
    true
}
