//! The program with a name server that lies: it points inside, says nonsense, or says nothing. Nobody is connected to, whoever asked
//! gets an answer, and nobody else notices.

use crate::gateway::USER;
use crate::gateway::{config, label, token_of};
use crate::namespace::{after, in_a_namespace};
use crate::process::{Machine, Server};
use crate::program::LIST;
use crate::raw::{Caller, PATIENCE, post, status};
use crate::tls_peers::{Authority, TlsUpstream};
use futures_util::future::join_all;
use portcullis::app::App;
use portcullis::clock::Clock;
use portcullis::ids::Random;
use portcullis::secret::Secret;
use portcullis::store::Role;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::{TcpListener, UdpSocket};

/// What is said about a name, by its first label.
fn said(name: &str) -> Option<Vec<IpAddr>> {
    let addresses: &[&str] = match name.split('.').next().unwrap_or_default() {
        "loopback" => &["127.0.0.1", "::1"],
        "metadata" => &["169.254.169.254"],
        "mapped" => &["::ffff:127.0.0.1"],
        "nat" => &["64:ff9b::7f00:1"],
        "private" => &["10.0.0.1", "192.168.0.1", "100.64.0.1", "fd00::1"],
        "nobody" => &["0.0.0.0", "::"],
        "good" => &["127.0.0.1"],
        _ => return None,
    };
    Some(addresses.iter().map(|text| text.parse().unwrap()).collect())
}

/// Answers over UDP (RFC 1035), badly.
async fn name_server(socket: UdpSocket) {
    let mut query = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut query).await {
        let question = &query[12..length];
        let (mut at, mut name) = (0, String::new());
        while let Some(size @ 1..) = question.get(at).copied() {
            name.push_str(&String::from_utf8_lossy(&question[at + 1..=at + usize::from(size)]));
            name.push('.');
            at += 1 + usize::from(size);
        }
        let kind = question[at + 2];
        let head = |flags: [u8; 2], answers: usize| {
            [&query[..2], &flags, &[0, 1, 0, u8::try_from(answers).unwrap(), 0, 0, 0, 0], &question[..at + 5]].concat()
        };
        let answer = match name.split('.').next().unwrap_or_default() {
            "silent" => continue,
            "absent" => head([0x81, 0x83], 0),
            "broken" => head([0x81, 0x82], 0),
            "nonsense" => [&query[..2], &[0xff; 40][..]].concat(),
            "cut" => head([0x81, 0x80], 1),
            _ => {
                let all =
                    said(&name).unwrap_or_default().into_iter().filter(|address| (kind == 28) == address.is_ipv6());
                let records: Vec<Vec<u8>> = all
                    .map(|address| {
                        let bytes = match address {
                            IpAddr::V4(address) => address.octets().to_vec(),
                            IpAddr::V6(address) => address.octets().to_vec(),
                        };
                        let length = u8::try_from(bytes.len()).unwrap();
                        [&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 1, 0, length][..], &bytes].concat()
                    })
                    .collect();
                [head([0x81, 0x80], records.len()), records.concat()].concat()
            }
        };
        let _ = socket.send_to(&answer, from).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "mounts and serves port 53, which takes root: make test-root"]
async fn c_ssrf_a_name_server_that_lies_leads_nowhere_and_one_that_is_silent_holds_up_nobody_else() {
    let own = format!("127.53.{}.{}", std::process::id() % 250 + 1, std::process::id() / 250 % 250 + 1);
    let socket = UdpSocket::bind(format!("{own}:53")).await.unwrap();
    tokio::spawn(name_server(socket));
    // Whoever is led to this machine would find this.
    let (trap, caught) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::<AtomicUsize>::default());
    let port = trap.local_addr().unwrap().port();
    let counted = caught.clone();
    tokio::spawn(async move {
        while trap.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let authority = Authority::new("upstreams");
    let good = TlsUpstream::start(&authority, "good.test", &["http/1.1"]).await;
    let good = format!("good.test:{}", good.port);
    let bad =
        ["loopback", "metadata", "mapped", "nat", "private", "nobody", "absent", "broken", "nonsense", "cut", "silent"];
    let bad: Vec<String> = bad.iter().map(|name| format!("{name}.test:{port}")).collect();

    let machine = Machine::new();
    let resolv = machine.write("resolv.conf", &format!("nameserver {own}\noptions timeout:1 attempts:1\n"));
    let mut text = format!(
        "[upstreams]\nunknown = \"deny\"\nca_file = \"{}\"\n[[upstream]]\ndomain = \"{good}\"\nauth = \"none\"\nallow_private = true\n",
        authority.file().display()
    );
    for name in &bad {
        text.push_str(&format!("[[upstream]]\ndomain = \"{name}\"\nauth = \"none\"\n"));
    }
    let file = machine.write("portcullis.toml", &text);
    let command = machine.command(&["serve", "-c", &file]);
    let mount = format!("mount --bind {resolv} /etc/resolv.conf || exit 9");
    let mut server = Server::start(in_a_namespace(&after(&mount, &command)), "(http").await;
    let mut log = server.child.stderr.take().unwrap();
    tokio::spawn(async move { tokio::io::copy(&mut log, &mut tokio::io::sink()).await });
    let gateway: u16 = server.root().rsplit(':').next().unwrap().parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], gateway));
    let app = App::build(config(machine.home.path()), &[address], Clock::system(), Random::default()).await.unwrap();
    app.identity.create(USER, &Secret::new(crate::gateway::PASSWORD.to_owned()), Role::Administrator).await.unwrap();

    let ask = async |name: &str, token: &str| {
        let request = post(&format!("{}.localhost:{gateway}", label(name)), token, LIST);
        Caller::connect(gateway).await.send(request).await.response_within(2 * PATIENCE).await
    };
    let mut tokens = Vec::new();
    for name in &bad {
        tokens.push(token_of(&app, USER, name).await.0);
    }
    let sound = token_of(&app, USER, &good).await.0;
    let others = async {
        for _ in 0..20 {
            let (head, body) = ask(&good, &sound).await;
            assert_eq!((status(&head), body.as_str()), (200, "{}"), "{head}");
        }
    };
    let misled = join_all(bad.iter().zip(&tokens).map(|(name, token)| ask(name, token)));
    let (misled, ()) = tokio::join!(misled, others);
    for (name, (head, body)) in bad.iter().zip(misled) {
        assert!(matches!(status(&head), 502..=504), "{name}: {head}{body}");
    }
    assert_eq!(caught.load(Ordering::SeqCst), 0, "somebody was led inside");
    assert_eq!(server.signal("-TERM").await.code(), Some(0));
}
