//! A program of the administrator's that knows how to change the DNS.

use crate::error::Fault;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// How long it may take, until the record can be seen.
const PATIENCE: Duration = Duration::from_secs(180);
/// How much of what it says is kept.
const SAID: usize = 300;

/// Runs it with what to do, the record's name, and its value. It has none of our environment but `PATH`.
pub(super) async fn run(command: &[String], action: &str, (name, value): (&str, &str)) -> Result<(), Fault> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let wrong = |why: &str| Fault::gateway(format!("tls.acme.hook: {program} {action} {name}: {why}"));
    let child = Command::new(program)
        .args(arguments)
        .args([action, name, value])
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| wrong(&error.to_string()))?;
    match timeout(PATIENCE, child.wait_with_output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(SAID).collect();
            Err(wrong(&format!("{}: {said}", output.status)))
        }
        Ok(Err(error)) => Err(wrong(&error.to_string())),
        Err(_) => Err(wrong("it took longer than three minutes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script, "hook"].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn a_program_gets_what_it_needs_and_says_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("seen");
        let script = format!("echo \"$1 $2 $3\" > {}", file.display());
        run(&shell(&script), "present", ("_acme-challenge.gw.example", "value")).await.unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "present _acme-challenge.gw.example value\n");

        let fault = run(&shell("echo no such zone >&2; exit 3"), "cleanup", ("n", "v")).await.unwrap_err();
        assert!(fault.private.contains("exit status: 3: no such zone"), "{fault}");
        let fault = run(&["/nonexistent".to_owned()], "present", ("n", "v")).await.unwrap_err();
        assert!(fault.private.contains("/nonexistent present n"), "{fault}");
    }
}
