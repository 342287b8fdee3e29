//! `[[upstream]] command` and `[stdio]`.

use super::*;
use std::os::unix::fs::PermissionsExt;

const TIME: &str = "[[upstream]]\ncommand = \"sh\"\nalias = \"time\"\n";

fn command(text: &str) -> std::sync::Arc<Command> {
    let config = Trial::new(&format!("{TIME}{text}")).load();
    config.upstream[0].kind.command().expect("a program").clone()
}

#[test]
fn a_program_is_an_upstream() {
    let config = Trial::new(TIME).load();
    let upstream = &config.upstream[0];
    assert_eq!((upstream.authority.as_str(), upstream.path.as_deref()), ("time.stdio.invalid", Some("/mcp")));
    assert!(matches!(upstream.auth, UpstreamAuth::None));
    let default = command("");
    assert_eq!((default.program.as_path(), default.name()), (Path::new("sh"), "sh"));
    assert_eq!((default.idle, default.memory), (Some(Duration::from_secs(600)), Some(2 << 30)));
    assert_eq!((default.processes, default.search_path.as_str()), (Sharing::Person, "/usr/local/bin:/usr/bin:/bin"));
    assert!(default.cwd.is_none() && default.env.is_empty() && default.personal_env.is_empty());
    let full = command(
        "args = [\"-c\", \"a b\"]\nenv = { A = \"b\", PATH = \"/bin\" }\npersonal_env = [\"TOKEN\"]\nidle = \"off\"\n\
         memory = \"off\"\ncwd = \"/tmp\"\n",
    );
    assert_eq!(full.args, ["-c", "a b"]);
    assert_eq!((full.env.as_slice(), full.search_path.as_str()), (&[("A".to_owned(), "b".to_owned())][..], "/bin"));
    assert_eq!(full.personal_env, ["TOKEN"]);
    assert_eq!((full.idle, full.memory, full.cwd.as_deref()), (None, None, Some(Path::new("/tmp"))));
    let listed = Trial::new(
        "[[upstream]]\ncommand = [\"/bin/sh\", \"-c\"]\nargs = [\"x\"]\nalias = \"a\"\nprocesses = \"shared\"\n",
    );
    let listed = listed.load().upstream[0].kind.command().expect("a program").clone();
    assert_eq!((listed.name(), listed.args.join(" ").as_str()), ("sh", "-c x"));
    assert_eq!(listed.processes, Sharing::Everybody);
}

#[test]
fn a_program_may_be_beside_the_configuration() {
    let text = "[[upstream]]\ncommand = \"./server\"\nalias = \"time\"\nenv_files = { KEY = \"key\" }\n";
    let trial = Trial::new(text).write("server", "#!/bin/sh\n").write("key", "hunter2\n");
    assert_errors(&trial.errors(), &["portcullis.toml:2: upstream[0].command: server cannot be executed"]);
    fs::set_permissions(trial.path("server"), fs::Permissions::from_mode(0o700)).unwrap();
    let config = trial.load();
    let command = config.upstream[0].kind.command().expect("a program");
    assert!(command.program.is_absolute() && command.program.ends_with("server"));
    assert!(command.secrets[0].0 == "KEY" && command.secrets[0].1.matches("hunter2"));
    assert!(config.files.iter().any(|file| file.ends_with("key")), "a changed secret is a changed configuration");
    assert!(config.upstream[0].kind.is_same(&trial.load().upstream[0].kind));
    let other = trial.write("key", "hunter3\n").load();
    assert!(!config.upstream[0].kind.is_same(&other.upstream[0].kind));
}

#[test]
fn what_a_program_cannot_have() {
    let text = r#"[[upstream]]
command = "sh"
[[upstream]]
command = "sh"
alias = "a"
domain = "a.example"
path = "/x"
transport = "http"
auth = "oauth"
header = "x-key"
client_id = "x"
[[upstream]]
domain = "b.example"
transport = "smoke"
args = ["x"]
memory = "1 GiB"
[[upstream]]
domain = "a.stdio.invalid"
[[upstream]]
command = "sh"
alias = "a"
"#;
    assert_errors(
        &Trial::new(text).errors(),
        &[
            "portcullis.toml:1: upstream[0].alias: is missing: a program needs one",
            "portcullis.toml:6: upstream[1].domain: a program has no domain: keep either domain or command",
            "portcullis.toml:7: upstream[1].path: a program has no path",
            "portcullis.toml:8: upstream[1].transport: a program speaks over its standard input and output",
            "portcullis.toml:9: upstream[1].auth: \"oauth\" is for servers on the network: remove it",
            "portcullis.toml:10: upstream[1].header: is for servers on the network",
            "portcullis.toml:11: upstream[1].client_id: is for servers on the network",
            "portcullis.toml:14: upstream[2].transport: \"smoke\" is not a transport",
            "portcullis.toml:15: upstream[2].args: is used only with command",
            "portcullis.toml:16: upstream[2].memory: is used only with command",
            "portcullis.toml:18: upstream[3].domain: a.stdio.invalid cannot be reached",
            "portcullis.toml:19: upstream[4].alias: \"a\" is the alias of the upstream at line 3 already",
            "portcullis.toml:19: upstream[4].domain: a.stdio.invalid is configured twice, first at line 3",
        ],
    );
}

#[test]
fn what_is_wrong_with_a_program() {
    let text = r#"[[upstream]]
alias = "a"
command = "no-such-program"
[[upstream]]
alias = "b"
command = "sh -c x"
[[upstream]]
alias = "c"
command = []
cwd = "/no/such/directory"
[[upstream]]
alias = "d"
command = "/no/such/program"
env = { "A B" = "x", C = "x" }
env_files = { C = "/x", D = "/no/such/file" }
personal_env = ["LD_PRELOAD", "C", "1"]
processes = "all"
idle = "soon"
memory = "2"
[[upstream]]
alias = "e"
command = "sh"
personal_env = ["TOKEN"]
processes = "shared"
[stdio]
directory = "here"
max_processes = 0
"#;
    assert_errors(
        &Trial::new(text).errors(),
        &[
            "portcullis.toml:3: upstream[0].command: there is no program \"no-such-program\" in /usr/local/bin:",
            "portcullis.toml:6: upstream[1].command: there is no program \"sh -c x\" in /usr/local/bin:/usr/bin:/bin: \
             install it, or write its arguments into args",
            "portcullis.toml:9: upstream[2].command: must name a program",
            "portcullis.toml:10: upstream[2].cwd: there is no directory /no/such/directory: create it",
            "portcullis.toml:13: upstream[3].command: there is no program /no/such/program: install it",
            "portcullis.toml:14: upstream[3].env: \"A B\" is not the name of a variable",
            "portcullis.toml:15: upstream[3].env_files: C is in env already: remove one of them",
            "portcullis.toml:15: upstream[3].env_files: there is no file /no/such/file",
            "portcullis.toml:16: upstream[3].personal_env: \"1\" is not the name of a variable",
            "portcullis.toml:16: upstream[3].personal_env: C is in env or env_files already",
            "portcullis.toml:16: upstream[3].personal_env: LD_PRELOAD decides what is executed",
            "portcullis.toml:17: upstream[3].processes: \"all\" is not known: write \"person\" or \"shared\"",
            "portcullis.toml:18: upstream[3].idle: \"soon\" is not a duration",
            "portcullis.toml:19: upstream[3].memory: \"2\" is not a size",
            "portcullis.toml:24: upstream[4].processes: a process that everybody shares has nobody's own secrets",
            "portcullis.toml:26: stdio.directory: must be the absolute path",
            "portcullis.toml:27: stdio.max_processes: must be a whole number from 1",
        ],
    );
}

#[test]
fn programs_run_beside_the_database() {
    let directory = |variables: &[_]| load(&environment(variables)).unwrap().stdio.directory;
    let of = |path| Some(std::path::PathBuf::from(path));
    let home = ("HOME", "/h");
    assert_eq!(directory(&[home]), of("/h/.local/state/portcullis/portcullis.db-stdio"));
    assert_eq!(directory(&[home, ("PORTCULLIS__STORE__URL", "sqlite::memory:")]), None);
    assert_eq!(directory(&[home, ("PORTCULLIS__STDIO__DIRECTORY", "/d")]), of("/d"));
    let variables = [
        ("PORTCULLIS__UPSTREAM__0__COMMAND", "[\"sh\", \"-c\"]"),
        ("PORTCULLIS__UPSTREAM__0__ALIAS", "time"),
        ("PORTCULLIS__UPSTREAM__0__ENV__API_KEY", "x"),
        ("PATH", "/bin"),
    ];
    let command = load(&environment(&variables)).unwrap().upstream[0].kind.command().expect("a program").clone();
    assert_eq!((command.search_path.as_str(), command.args.len()), ("/bin", 1));
    assert_eq!(command.env, [("API_KEY".to_owned(), "x".to_owned())]);
}
