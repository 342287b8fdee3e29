//! `[login]`: the ways in, and who may use them.

use super::*;

const GITHUB_APP: &str = "[login.github]\nclient_id = \"id\"\nclient_secret = \"hunter2\"\n";
const COMPANY: &str = "[[login.oidc]]\nname = \"company\"\nissuer = \"https://id.example\"\nclient_id = \"id\"\n";

fn github(text: &str) -> GitHubLogin {
    Trial::new(&format!("{GITHUB_APP}{text}")).load().login.github.unwrap()
}

fn company(text: &str) -> OidcLogin {
    Trial::new(&format!("{COMPANY}{text}")).load().login.oidc.remove(0)
}

#[test]
fn github_has_defaults_but_for_who_may_come() {
    let app = github("allowed_users = [\"@OctoCat\", \"some-one_corp\"]\nadmin_users = [\"OCTOCAT\"]");
    assert_eq!(app.allowed_users, Allowed::These(vec!["octocat".to_owned(), "some-one_corp".to_owned()]));
    assert_eq!((app.admin_users, app.allowed_orgs), (vec!["octocat".to_owned()], Vec::new()));
    assert_eq!((app.url.as_str(), app.api_url.as_str()), ("https://github.com", "https://api.github.com"));
    assert!(app.client_secret.matches("hunter2") && !app.allow_private);
    assert_eq!(github("allowed_users = [\"*\"]").allowed_users, Allowed::Everybody);
    let orgs = github("allowed_orgs = [\"Example\"]\nurl = \"https://git.example/\"");
    assert_eq!((orgs.allowed_users, orgs.allowed_orgs), (Allowed::These(Vec::new()), vec!["example".to_owned()]));
    assert_eq!(orgs.api_url, "https://git.example/api/v3");
    let resident = github("allowed_orgs = [\"x\"]\nurl = \"https://octo.ghe.com\"");
    assert_eq!(resident.api_url, "https://api.octo.ghe.com");
}

#[test]
fn an_openid_provider_has_defaults_but_for_who_may_come() {
    let provider = company("allowed_domains = [\"Bücher.example\", \"Corp.com\"]");
    let domains = vec!["xn--bcher-kva.example".to_owned(), "corp.com".to_owned()];
    assert_eq!(provider.allowed_domains, Some(Allowed::These(domains)));
    assert_eq!((provider.label.as_str(), provider.scopes.as_str()), ("company", "openid profile email"));
    assert_eq!((provider.groups_claim.as_str(), provider.allowed_groups), ("groups", None));
    assert!(provider.client_secret.is_none() && !provider.id_jag && !provider.allow_private);
    let provider = company("allowed_groups = [\"staff\"]\nscopes = [\"email\", \"groups\"]\nallowed_domains = []");
    assert_eq!((provider.scopes.as_str(), provider.allowed_domains), ("openid email groups", None));
    let private = format!("[upstreams]\nallow_private = true\n{COMPANY}allowed_domains = [\"*\"]\n");
    let provider = Trial::new(&private).load().login.oidc.remove(0);
    assert!(provider.allow_private && provider.allowed_domains == Some(Allowed::Everybody));
}

#[test]
fn nobody_is_let_in_by_a_rule_that_is_not_written() {
    let errors = |text: &str| Trial::new(text).errors();
    for open in ["", "allowed_users = []\n", "allowed_orgs = []\nadmin_users = [\"x\"]\n"] {
        let told = errors(&format!("{GITHUB_APP}{open}"));
        assert_errors(&told, &["portcullis.toml:1: login.github.allowed_users: is missing, and so is allowed_orgs"]);
        assert!(told[0].contains("allowed_users = [\"*\"]"), "{told:?}");
    }
    for open in ["", "allowed_domains = []\n", "admin_groups = [\"x\"]\n"] {
        let told = errors(&format!("{COMPANY}{open}"));
        assert_errors(&told, &["portcullis.toml:1: login.oidc[0].allowed_domains: is missing, and so is"]);
    }
    let told = errors(&format!("{GITHUB_APP}allowed_orgs = [\"*\"]\nadmin_users = [\"*\"]\n"));
    assert_errors(
        &told,
        &[
            "portcullis.toml:4: login.github.allowed_orgs: must not have",
            "portcullis.toml:5: login.github.admin_users: must",
        ],
    );
    let told = errors(&format!("{COMPANY}allowed_groups = [\"*\"]\nadmin_groups = [\"*\"]\n"));
    assert_errors(
        &told,
        &[
            "portcullis.toml:5: login.oidc[0].allowed_groups: must",
            "portcullis.toml:6: login.oidc[0].admin_groups: must",
        ],
    );
}

#[test]
fn what_is_wrong_with_a_provider_is_told_with_its_line() {
    let text = "[login.github]\nallowed_users = [\"a b\"]\nurl = \"http://git.example\"\n\
                [[login.oidc]]\nallowed_domains = [\"a@corp.com\", \"localhost\"]\n\
                [[login.oidc]]\nname = \"github\"\nissuer = \"https://id.example/.well-known/openid-configuration\"\n\
                client_id = \"\"\nallowed_domains = [\"*\"]\nlabl = \"x\"\n";
    assert_errors(
        &Trial::new(text).errors(),
        &[
            "portcullis.toml:1: login.github.client_id: is missing",
            "portcullis.toml:1: login.github.client_secret: is missing",
            "portcullis.toml:2: login.github.allowed_users: \"a b\" is not a login of GitHub",
            "portcullis.toml:3: login.github.url: must be an absolute https URL",
            "portcullis.toml:4: login.oidc[0].client_id: is missing",
            "portcullis.toml:4: login.oidc[0].issuer: is missing",
            "portcullis.toml:4: login.oidc[0].name: is missing",
            "portcullis.toml:5: login.oidc[0].allowed_domains: \"a@corp.com\" is not a domain",
            "portcullis.toml:5: login.oidc[0].allowed_domains: \"localhost\" is not a domain",
            "portcullis.toml:7: login.oidc[1].name: \"github\" has a meaning of its own",
            "portcullis.toml:8: login.oidc[1].issuer: is the address of a document",
            "portcullis.toml:9: login.oidc[1].client_id: must be a text that can be shown",
            "portcullis.toml:11: login.oidc[1].labl: unknown key; did you mean \"login.oidc[1].label\"?",
        ],
    );
    let rules = "allowed_domains = [\"*\"]\n";
    let twice = format!("{COMPANY}{rules}{COMPANY}{rules}");
    assert_errors(
        &Trial::new(&twice).errors(),
        &["portcullis.toml:6: login.oidc[1].name: \"company\" is the name of another provider already"],
    );
}

#[test]
fn secrets_of_providers_come_from_files_and_credentials_too() {
    let rules = "allowed_users = [\"x\"]\n[[login.oidc]]\nname = \"company\"\nissuer = \"https://id.example\"\n\
                 client_id = \"id\"\nallowed_domains = [\"*\"]\n";
    let github = format!("[login.github]\nclient_id = \"id\"\nclient_secret_file = \"github.secret\"\n{rules}");
    let trial = Trial::new(&github).write("github.secret", "one\n").write("login.company.client_secret", "two\n");
    let directory = trial.directory.path().display().to_string();
    let login = trial.with(&[("CREDENTIALS_DIRECTORY", &directory)]).load().login;
    assert!(login.github.unwrap().client_secret.matches("one"));
    assert!(login.oidc[0].client_secret.as_ref().unwrap().matches("two"));
}

#[test]
fn passwords_are_switched_off_only_where_there_is_another_way_in() {
    let none = Trial::new("[login]\npassword = false\n").errors();
    assert_errors(&none, &["portcullis.toml:2: login.password: leaves no way to sign in: configure [login.github] or"]);
    let rest =
        "[[login.oidc]]\nname = \"a\"\nissuer = \"https://id.example\"\nclient_id = \"x\"\nallowed_domains = [\"*\"]\n";
    let text = format!("[login]\npassword = false\n{rest}");
    assert!(!Trial::new(&text).load().login.password);
    let local = Trial::new(&text).with(&[("LOCAL_USER", "root"), ("LOCAL_PASSWORD", "hunter2")]).errors();
    assert_errors(&local, &["portcullis.toml:2: login.password: makes LOCAL_USER and LOCAL_PASSWORD useless"]);
}

#[test]
fn a_changed_secret_is_a_changed_login() {
    let load = |secret: &str| {
        let rules = "allowed_users = [\"x\"]";
        Trial::new(&format!("[login.github]\nclient_id = \"id\"\nclient_secret = \"{secret}\"\n{rules}\n")).load()
    };
    assert_eq!(load("a").changes(&load("a")), Vec::<&str>::new());
    assert_eq!(load("b").changes(&load("a")), ["login"]);
    let open = |domains: &str| Trial::new(&format!("{COMPANY}allowed_domains = [\"{domains}\"]\n")).load();
    assert_eq!(open("a.example").changes(&open("*")), ["login"]);
    assert_eq!(open("a.example").changes(&open("a.example")), Vec::<&str>::new());
}
