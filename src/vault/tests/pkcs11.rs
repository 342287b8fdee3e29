//! A real token: SoftHSM (`make deps-build` installs it), in a directory of its own. Where it is missing the tests say so.

use super::super::pkcs11::Pkcs11;
use super::*;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Module};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use std::path::{Path, PathBuf};

const PIN: &str = "1234";

/// The one test that uses the module: its configuration is an environment variable of the process.
#[test]
fn a_token_gives_the_vault_key_and_says_what_is_wrong() {
    let Some(module) = module() else {
        panic!("SoftHSM is missing: install softhsm2 (make deps-build), or set SOFTHSM2_MODULE");
    };
    if std::env::var_os("SOFTHSM2_CONF").is_none() {
        return again_with_a_token();
    }
    let settings =
        Pkcs11 { module, token: "portcullis".to_owned(), key: "vault".to_owned(), pin: Secret::new(PIN.to_owned()) };
    make_token(&settings);
    let random = Random::default();
    let (plain, earlier) = (key(), key());
    let id = Vault::new(&plain, &[]).unwrap().current_key();
    let wrapped = |settings: &Pkcs11, key: &Secret| Secret::new(Vault::wrap_key(key, settings, &random).unwrap());
    let refusal =
        |settings: Option<&Pkcs11>, text: &Secret| Vault::unlock(text, &[], settings).err().unwrap().to_string();

    let line = wrapped(&settings, &plain);
    assert!(!line.expose().contains(plain.expose()) && !line.expose().contains('\n'), "{}", line.expose());
    assert!(line.expose().contains("AES-GCM") && line.expose().contains(&id.to_string()));
    let vault = Vault::unlock(&line, std::slice::from_ref(&earlier), Some(&settings)).unwrap();
    assert_eq!(vault.current_key(), id);
    // An earlier key may be in the clear, or wrapped; with RSA as well.
    let rsa = Pkcs11 { key: "pair".to_owned(), ..settings.clone() };
    let pair = wrapped(&rsa, &earlier);
    assert!(pair.expose().contains("RSA-OAEP"), "{}", pair.expose());
    let earlier_id = Vault::new(&earlier, &[]).unwrap().current_key();
    assert_eq!(Vault::unlock(&pair, &[], Some(&rsa)).unwrap().current_key(), earlier_id);

    let is_at_rest = || {
        let module = Module::new(Path::new(&settings.module)).unwrap();
        module
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .and_then(|()| module.finalize())
            .is_ok()
    };
    assert!(is_at_rest(), "whoever has the key signs out and lets go of the token");

    let with = |change: &dyn Fn(&mut Pkcs11)| {
        let mut changed = settings.clone();
        change(&mut changed);
        refusal(Some(&changed), &line)
    };
    for (said, expected) in [
        (with(&|s| s.module = PathBuf::from("/nowhere/libtoken.so")), "there is no file /nowhere/libtoken.so"),
        (with(&|s| s.module = PathBuf::from("/etc/passwd")), "is no PKCS#11 module"),
        (with(&|s| s.token = "other".to_owned()), "there is no token \"other\" (there is: \"portcullis\")"),
        (with(&|s| s.key = "missing".to_owned()), "has no AES key and no RSA key pair \"missing\""),
        (with(&|s| s.key = "second".to_owned()), "was wrapped with the key \"vault\" of the token \"portcullis\""),
        (with(&|s| s.key = "twins".to_owned()), "has several keys \"twins\": give one of them another label"),
        (with(&|s| s.pin = Secret::new("4321".to_owned())), "pin_file is wrong; fewer tries are left than before"),
        (refusal(None, &line), "configure it in [vault.pkcs11]"),
        (refusal(Some(&settings), &plain), "the vault key is in the clear"),
        (refusal(Some(&settings), &Secret::new("{\"wrapped\":7}".to_owned())), "the wrapped vault key is damaged"),
        (
            refusal(Some(&settings), &Secret::new(line.expose().replace(&id.to_string(), "0011223344556677"))),
            // The token itself refuses: the key's name is authenticated with it.
            "does not unwrap the vault key (Function::Decrypt",
        ),
        (
            refusal(Some(&rsa), &Secret::new(pair.expose().replace(&earlier_id.to_string(), "0011223344556677"))),
            "what came out is another key",
        ),
    ] {
        assert!(said.contains(expected), "expected {expected:?}: {said}");
        assert!(is_at_rest(), "after {said}");
        assert!(!said.contains(PIN) && !said.contains("4321") && !said.contains(plain.expose()), "{said}");
    }
    assert_eq!(Vault::unlock(&line, &[], Some(&settings)).unwrap().current_key(), id, "no try is left over");
}

fn module() -> Option<PathBuf> {
    let given = std::env::var_os("SOFTHSM2_MODULE").map(PathBuf::from);
    let usual = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    given.into_iter().chain(usual.map(PathBuf::from)).find(|path| path.is_file())
}

/// Runs this test in a process with a token directory of its own.
fn again_with_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = directory.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let conf = directory.path().join("softhsm2.conf");
    std::fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display())).unwrap();
    let name = std::thread::current().name().unwrap().to_owned();
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let ended = again.args(["--exact", &name, "--nocapture"]).env("SOFTHSM2_CONF", &conf).output().unwrap();
    assert!(
        ended.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    );
}

/// A token with two AES keys and an RSA pair.
fn make_token(settings: &Pkcs11) {
    let module = Module::new(Path::new(&settings.module)).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = module.get_slots_with_token().unwrap()[0];
    let (officer, user) = (AuthPin::from("so-pin".to_owned()), AuthPin::from(PIN.to_owned()));
    module.init_token(slot, &officer, &settings.token).unwrap();
    let session = module.open_rw_session(slot).unwrap();
    session.login(UserType::So, Some(&officer)).unwrap();
    session.init_pin(&user).unwrap();
    session.logout().unwrap();
    session.login(UserType::User, Some(&user)).unwrap();
    let label = |text: &str| Attribute::Label(text.as_bytes().to_vec());
    for name in [settings.key.as_str(), "second", "twins", "twins"] {
        let template = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::ValueLen(32.into()),
            label(name),
        ];
        session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
    }
    let public = [
        Attribute::Token(true),
        Attribute::Encrypt(true),
        Attribute::ModulusBits(2048.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
        label("pair"),
    ];
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Decrypt(true),
        label("pair"),
    ];
    session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private).unwrap();
    session.logout().unwrap();
    drop(session);
    module.finalize().unwrap();
}
