//! The program with a name server that lies: it points inside, at once or later, says nonsense, or says nothing. Nobody is connected to, whoever asked
//! gets an answer, and nobody else notices.

use crate::gateway::USER;
use crate::gateway::{config, label, token_of};
use crate::namespace::{after, again_in_a_network_with, in_a_namespace};
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
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

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

/// Answers over UDP (RFC 1035), badly, with what is said about a name.
async fn name_server(socket: UdpSocket, said: impl Fn(&str) -> Option<Vec<IpAddr>>) {
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

/// A port at which whoever comes is counted.
async fn trap(address: &str) -> (u16, Arc<AtomicUsize>) {
    let (listener, caught) = (TcpListener::bind(address).await.unwrap(), Arc::<AtomicUsize>::default());
    let (port, counted) = (listener.local_addr().unwrap().port(), caught.clone());
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, caught)
}

/// The program with this name server and these upstreams, what knows of its people, and its port.
async fn serve(machine: &Machine, name_server: &str, authority: &Authority, upstreams: &str) -> (Server, App, u16) {
    let resolv = machine.write("resolv.conf", &format!("nameserver {name_server}\noptions timeout:1 attempts:1\n"));
    let ca_file = authority.file();
    let text = format!("[upstreams]\nunknown = \"deny\"\nca_file = {ca_file:?}\n{upstreams}");
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
    (server, app, gateway)
}

async fn ask(gateway: u16, name: &str, token: &str) -> (String, String) {
    let request = post(&format!("{}.localhost:{gateway}", label(name)), token, LIST);
    Caller::connect(gateway).await.send(request).await.response_within(2 * PATIENCE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "mounts and serves port 53, which takes root: make test-root"]
async fn c_ssrf_a_name_server_that_lies_leads_nowhere_and_one_that_is_silent_holds_up_nobody_else() {
    let own = format!("127.53.{}.{}", std::process::id() % 250 + 1, std::process::id() / 250 % 250 + 1);
    let socket = UdpSocket::bind(format!("{own}:53")).await.unwrap();
    tokio::spawn(name_server(socket, said));
    // Whoever is led to this machine would find this.
    let (port, caught) = trap("127.0.0.1:0").await;
    let authority = Authority::new("upstreams");
    let good = TlsUpstream::start(&authority, "good.test", &["http/1.1"]).await;
    let good = format!("good.test:{}", good.port);
    let bad =
        ["loopback", "metadata", "mapped", "nat", "private", "nobody", "absent", "broken", "nonsense", "cut", "silent"];
    let bad: Vec<String> = bad.iter().map(|name| format!("{name}.test:{port}")).collect();

    let machine = Machine::new();
    let mut text = format!("[[upstream]]\ndomain = \"{good}\"\nauth = \"none\"\nallow_private = true\n");
    for name in &bad {
        text.push_str(&format!("[[upstream]]\ndomain = \"{name}\"\nauth = \"none\"\n"));
    }
    let (server, app, gateway) = serve(&machine, &own, &authority, &text).await;

    let ask = async |name: &str, token: &str| ask(gateway, name, token).await;
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

/// Not one of those that are never reached, and nobody's but this network's.
const PUBLIC: &str = "93.184.216.34";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "makes a network and mounts, which takes root: make test-root"]
async fn c_ssrf_a_name_that_is_public_first_and_inside_later_is_not_followed() {
    if again_in_a_network_with("lying_dns::c_ssrf_a_name_that_is_public_first_and_inside_later_is_not_followed", PUBLIC)
        .await
    {
        return;
    }
    // Where the name leads, and since it leads inside, how often somebody asked.
    let (is_inside, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let (inside, counted) = (is_inside.clone(), asked.clone());
    let said = move |_: &str| {
        let is_inside = inside.load(Ordering::SeqCst);
        counted.fetch_add(usize::from(is_inside), Ordering::SeqCst);
        Some(vec![if is_inside { IpAddr::from([127, 0, 0, 1]) } else { PUBLIC.parse().unwrap() }])
    };
    tokio::spawn(name_server(UdpSocket::bind("127.0.0.53:53").await.unwrap(), said));
    let authority = Authority::new("upstreams");
    let upstream = TlsUpstream::start(&authority, "rebinding.test", &["http/1.1"]).await;
    // The same port: behind the public address the upstream, behind the other one something of this machine.
    let (port, caught) = trap("127.0.0.1:0").await;
    let public = TcpListener::bind((PUBLIC, port)).await.unwrap();
    let connections = async {
        let mut connections = JoinSet::new();
        while let Ok((mut caller, _)) = public.accept().await {
            connections.spawn(async move {
                let mut upstream = TcpStream::connect(("127.0.0.1", upstream.port)).await.unwrap();
                let _ = copy_bidirectional(&mut caller, &mut upstream).await;
            });
        }
    };
    let name = format!("rebinding.test:{port}");
    let text = format!("[[upstream]]\ndomain = \"{name}\"\nauth = \"none\"\n");
    let machine = Machine::new();
    let (server, app, gateway) = serve(&machine, "127.0.0.53", &authority, &text).await;
    let token = token_of(&app, USER, &name).await.0;

    let called = async { assert_eq!(status(&ask(gateway, &name, &token).await.0), 200) };
    // Whoever ends this ends the connections with it, so that the next call needs one.
    tokio::select! { () = connections => {}, () = called => {} }
    is_inside.store(true, Ordering::SeqCst);
    let misled = async {
        while asked.load(Ordering::SeqCst) == 0 {
            let (head, body) = ask(gateway, &name, &token).await;
            assert!(matches!(status(&head), 502..=504), "{head}{body}");
        }
    };
    timeout(PATIENCE, misled).await.expect("a name is asked for again when its time is over");
    let (head, body) = ask(gateway, &name, &token).await;
    assert!(matches!(status(&head), 502..=504), "{head}{body}");
    assert_eq!(caught.load(Ordering::SeqCst), 0, "somebody was led inside");
    assert_eq!(server.signal("-TERM").await.code(), Some(0));
}
