//! Dynamic updates (RFC 2136), signed with TSIG (RFC 8945), over TCP.

use crate::clock::Clock;
use crate::config::{Rfc2136, TsigAlgorithm};
use crate::error::Fault;
use data_encoding::BASE64;
use hickory_proto::op::{Message, Query, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm as Algorithm;
use hickory_proto::rr::{Name, RData, Record, RecordSet, RecordType, TSigner};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

/// How long the records may be kept by resolvers, in seconds.
const TTL: u32 = 60;
/// How far the clocks of both sides may differ, in seconds (RFC 8945 §10).
const FUDGE: u16 = 300;
/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long it may take to show what it took.
const VISIBLE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is done with a record.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// It comes to those that are there.
    Add,
    /// It goes, others of its name stay.
    Remove,
}

/// Sends one update and looks at the signed answer.
pub(super) async fn change(
    server: &Rfc2136,
    change: Change,
    (name, value): (&str, &str),
    clock: &Clock,
) -> Result<(), Fault> {
    let zone = absolute(&server.zone)?;
    let name = absolute(name)?;
    if !zone.zone_of(&name) {
        return Err(Fault::gateway(format!("tls.acme.rfc2136.zone: {name} is not in {zone}: name its zone")));
    }
    let mut records = RecordSet::new(name.clone(), RecordType::TXT, 0);
    records.insert(Record::from_rdata(name, TTL, RData::TXT(TXT::new(vec![value.to_owned()]))), 0);
    let mut message = match change {
        Change::Add => update_message::append(records, zone, false, false),
        Change::Remove => update_message::delete_by_rdata(records, zone, false),
    };
    let signed_at = u64::try_from(clock.now().seconds()).unwrap_or_default();
    let verifier = message.finalize(&signer(server)?, signed_at).map_err(|error| wrong(server, &error))?;
    let answer = exchange(server, &message).await?;
    let parsed = Message::from_vec(&answer).map_err(|error| wrong(server, &error))?;
    match parsed.response_code {
        ResponseCode::NoError => {}
        code @ (ResponseCode::NotAuth | ResponseCode::Refused) => {
            let why = format!("it refuses the update ({code}): check zone, key_name, key and the server's policy");
            return Err(wrong(server, &why));
        }
        code => return Err(wrong(server, &format!("it refuses the update ({code})"))),
    }
    let verified = verifier.map(|mut verifier| verifier.verify(&answer)).transpose();
    verified.map(drop).map_err(|error| wrong(server, &format!("its answer is not signed by the key ({error})")))
}

/// Waits until the server itself answers with the record.
pub(super) async fn wait_for(server: &Rfc2136, (name, value): (&str, &str)) -> Result<(), Fault> {
    let deadline = Instant::now() + VISIBLE;
    loop {
        if shows(server, name, value).await? {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(wrong(server, &format!("it took the update and does not show {name}")));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn shows(server: &Rfc2136, name: &str, value: &str) -> Result<bool, Fault> {
    let mut message = Message::query();
    message.add_query(Query::query(absolute(name)?, RecordType::TXT));
    let answer = exchange(server, &message).await?;
    let answer = Message::from_vec(&answer).map_err(|error| wrong(server, &error))?;
    let is_it = |record: &Record| match &record.data {
        RData::TXT(text) => text.txt_data.concat() == value.as_bytes(),
        _ => false,
    };
    Ok(answer.answers.iter().any(is_it))
}

/// A message and its answer, each after its length (RFC 1035 §4.2.2).
async fn exchange(server: &Rfc2136, message: &Message) -> Result<Vec<u8>, Fault> {
    let bytes = message.to_vec().map_err(|error| wrong(server, &error))?;
    let length = u16::try_from(bytes.len()).map_err(|error| wrong(server, &error))?;
    let answering = async {
        let mut stream = TcpStream::connect(server.server).await?;
        stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(ANSWER, answering).await.map_err(|_| wrong(server, &"it does not answer"))?;
    let answer = answer.map_err(|error| wrong(server, &error))?;
    // The id is the first thing in a message (RFC 1035 §4.1.1).
    if answer.get(..2) != bytes.get(..2) {
        return Err(wrong(server, &"it answers something else"));
    }
    Ok(answer)
}

fn signer(server: &Rfc2136) -> Result<TSigner, Fault> {
    let key = BASE64.decode(server.key.expose().as_bytes()).map(Zeroizing::new).map_err(Fault::gateway)?;
    let algorithm = match server.algorithm {
        TsigAlgorithm::HmacSha256 => Algorithm::HmacSha256,
        TsigAlgorithm::HmacSha384 => Algorithm::HmacSha384,
        TsigAlgorithm::HmacSha512 => Algorithm::HmacSha512,
    };
    TSigner::new(key.to_vec(), algorithm, absolute(&server.key_name)?, FUDGE).map_err(|error| wrong(server, &error))
}

fn absolute(name: &str) -> Result<Name, Fault> {
    let mut parsed = Name::from_ascii(name).map_err(Fault::gateway)?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

fn wrong(server: &Rfc2136, why: &dyn std::fmt::Display) -> Fault {
    Fault::gateway(format!("tls.acme.rfc2136: {}: {why}", server.server))
}
