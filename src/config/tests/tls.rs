//! `[tls.acme]` and `server.http_listen`.

use super::*;
use std::net::SocketAddr;

const START: &str = "[server]\ndomain = \"gw.example\"\n[tls]\nmode = \"acme\"\n";

fn acme(text: &str) -> Acme {
    let config = Trial::new(&format!("{START}[tls.acme]\n{text}")).load();
    let Tls::Acme(acme) = config.tls else { panic!("{:?}", config.tls) };
    *acme
}

fn errors(text: &str) -> Vec<String> {
    Trial::new(&format!("{START}[tls.acme]\n{text}")).errors()
}

#[test]
fn acme_needs_nothing_but_a_domain() {
    let config = Trial::new(START).load();
    let Tls::Acme(acme) = &config.tls else { panic!() };
    assert_eq!(acme.directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!((&acme.challenge, acme.renew_before, &acme.email), (&Challenge::Http01, None, &None));
    assert_eq!(config.server.listen, [SocketAddr::from(([0, 0, 0, 0], 443))]);
    assert_eq!(config.server.http_listen, Some(SocketAddr::from(([0, 0, 0, 0], 80))));
}

#[test]
fn authorities_have_names_or_addresses() {
    assert!(acme("directory = \"letsencrypt-staging\"\n").directory.contains("staging"));
    let own =
        acme("directory = \"https://ca.corp:9000/acme/directory\"\nemail = \"a@b.example\"\nrenew_before = \"10d\"\n");
    assert_eq!(own.directory, "https://ca.corp:9000/acme/directory");
    assert_eq!((own.email.as_deref(), own.renew_before), (Some("a@b.example"), Some(10 * DAY)));
    assert_errors(
        &errors("directory = \"http://ca.corp/\"\nemail = \"nobody\"\nchallenge = \"dns\"\n"),
        &[
            "portcullis.toml:6: tls.acme.directory: \"http://ca.corp/\" is not the https URL of an ACME directory: write \
             \"letsencrypt\", \"letsencrypt-staging\", or the URL that your authority names",
            "portcullis.toml:7: tls.acme.email: \"nobody\" is not an e-mail address: write it like \"admin@example.com\"",
            "portcullis.toml:8: tls.acme.challenge: \"dns\" is not a challenge: write \"http-01\", \"tls-alpn-01\" or \"dns-01\"",
        ],
    );
}

#[test]
fn an_external_account_is_a_name_and_a_key() {
    let account = acme("eab_key_id = \"kid\"\neab_hmac_key = \"c2VjcmV0\"\n").external_account.unwrap();
    assert_eq!((account.key_id.as_str(), account.hmac_key.expose()), ("kid", "c2VjcmV0"));
    assert_errors(
        &errors("eab_key_id = \"kid\"\n"),
        &["portcullis.toml:6: tls.acme.eab_key_id: needs the key that belongs to it, in eab_hmac_key_file"],
    );
    let wrong = errors("eab_key_id = \"kid\"\neab_hmac_key = \"no base64!\"\n");
    assert_errors(
        &wrong,
        &["portcullis.toml:7: tls.acme.eab_hmac_key: is not base64url: copy the HMAC key as the authority shows it"],
    );
    assert!(!wrong[0].contains("no base64!"), "a secret is in an error");
}

#[test]
fn dns_01_needs_one_way_to_the_dns() {
    let update = "challenge = \"dns-01\"\n[tls.acme.rfc2136]\nserver = \"192.0.2.53\"\nzone = \"example.\"\n\
                  key_name = \"acme\"\nkey = \"c2VjcmV0\"\n";
    let Challenge::Dns01(Records::Update(server)) = acme(update).challenge else { panic!() };
    assert_eq!((server.server.to_string().as_str(), server.zone.as_str()), ("192.0.2.53:53", "example"));
    assert_eq!(server.algorithm, TsigAlgorithm::HmacSha256);
    let Challenge::Dns01(Records::Hook(hook)) =
        acme("challenge = \"dns-01\"\nhook = [\"/bin/sh\", \"-e\"]\n").challenge
    else {
        panic!()
    };
    assert_eq!(hook, ["/bin/sh", "-e"]);
    assert_errors(
        &errors("challenge = \"dns-01\"\n"),
        &["portcullis.toml:6: tls.acme.challenge: \"dns-01\" needs a way to the DNS: [tls.acme.rfc2136] for dynamic \
           updates, or hook = [\"/path/to/program\"]"],
    );
    assert_errors(
        &errors(&format!("hook = [\"/bin/sh\"]\n{update}")),
        &["portcullis.toml:7: tls.acme.challenge: has two ways to the DNS: keep either tls.acme.rfc2136 or hook"],
    );
    assert_errors(
        &errors("challenge = \"dns-01\"\nhook = [\"hook.sh\"]\n"),
        &["portcullis.toml:7: tls.acme.hook: must begin with the absolute path of a program, like \
           \"/usr/local/bin/dns-hook\""],
    );
    assert_errors(
        &errors(&update.replace("zone = \"example.\"", "zone = \"other.example\"")),
        &["portcullis.toml:9: tls.acme.rfc2136.zone: gw.example is not in other.example: name the zone that it is in"],
    );
}

#[test]
fn plain_http_is_where_it_is_needed() {
    let listen = |text: &str, acme: &str| {
        Trial::new(&format!("[server]\ndomain = \"gw.example\"\n{text}[tls]\nmode = \"acme\"\n[tls.acme]\n{acme}"))
    };
    assert_eq!(listen("", "challenge = \"tls-alpn-01\"\n").load().server.http_listen, None);
    let own = listen("http_listen = \"[::]:8080\"\n", "").load().server.http_listen;
    assert_eq!(own.map(|address| address.to_string()).as_deref(), Some("[::]:8080"));
    assert_errors(
        &listen("http_listen = \"\"\n", "").errors(),
        &[
            "portcullis.toml:3: server.http_listen: is where tls.acme.challenge = \"http-01\" is answered: leave it out for \
           \"0.0.0.0:80\", or choose another challenge",
        ],
    );
    assert_errors(
        &Trial::new("[server]\nhttp_listen = \"127.0.0.1:80\"\n").errors(),
        &["portcullis.toml:2: server.http_listen: redirects to https, which this gateway does not speak with \
           tls.mode = \"off\": remove it"],
    );
}

#[test]
fn modes_exclude_each_other() {
    assert_errors(
        &Trial::new("[tls]\nmode = \"acme\"\n").errors(),
        &[
            "portcullis.toml:2: tls.mode: no authority gives a certificate for localhost: set server.domain to a public \
           domain, or use \"off\"",
        ],
    );
    assert_errors(
        &Trial::new(&format!("{START}cert = \"c.pem\"\n")).errors(),
        &["portcullis.toml:5: tls.mode: \"acme\" orders certificates by itself: remove tls.cert and tls.key"],
    );
    assert_errors(
        &Trial::new("[tls]\nmode = \"letsencrypt\"\n").errors(),
        &["portcullis.toml:2: tls.mode: \"letsencrypt\" is not a mode: write \"acme\", \"files\" or \"off\""],
    );
}
