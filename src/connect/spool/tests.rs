use super::*;
use crate::connect::tests::World;
use std::time::SystemTime;
use tempfile::TempDir;

const INSTALLATION: &str = "0011223344556677";
/// A process that is no more.
const FORMER: &str = "00112233445566778899aabbccddeeff";

fn spool(directory: &TempDir) -> Spool {
    let spool = Spool::new(Some(directory.path().to_owned()), &Random::default());
    spool.installation.set(INSTALLATION.to_owned()).unwrap();
    spool.open().unwrap();
    spool
}

/// A file of another process, last changed so long ago.
#[allow(clippy::disallowed_methods)] // the file system goes by no other clock
fn leave(directory: &TempDir, name: &str, content: &[u8], age: Duration) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    path
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn whoever_has_ended_is_known_by_its_lock_and_remembered_for_as_long_as_its_leases_last() {
    let directory = TempDir::new().unwrap();
    let (ours, neighbour) = (spool(&directory), spool(&directory));
    assert!(!ours.has_died(ours.holder()) && !ours.has_died(neighbour.holder()), "both live");
    assert!(!ours.has_died(FORMER), "nothing is known of it");
    leave(&directory, &format!("{FORMER}{ALIVE}"), b"", Duration::ZERO);
    leave(&directory, &format!("no-holder{ALIVE}"), b"", Duration::ZERO);
    assert!(ours.has_died(FORMER) && !ours.has_died("no-holder"));

    let (mine, its) = (format!("{}{ALIVE}", ours.holder()), format!("{}{ALIVE}", neighbour.holder()));
    ours.tidy();
    let mut left = vec![mine, its, format!("{FORMER}{DEAD}"), format!("no-holder{ALIVE}")];
    left.sort();
    assert_eq!(names(directory.path()), left);
    assert!(ours.has_died(FORMER) && !ours.has_died(neighbour.holder()));

    let starting = format!("{}{STARTING}", "ab".repeat(16));
    leave(&directory, &starting, b"", REMEMBERED.saturating_sub(Duration::from_secs(10)));
    ours.tidy();
    assert!(names(directory.path()).contains(&starting), "it may be about to take its lock");
    for name in [starting.as_str(), &format!("{FORMER}{DEAD}")] {
        leave(&directory, name, b"", REMEMBERED + Duration::from_secs(10));
    }
    ours.tidy();
    left.retain(|name| !name.ends_with(DEAD));
    assert_eq!(names(directory.path()), left);
    assert!(!ours.has_died(FORMER), "no lease of it can last");

    let neighbour_s = neighbour.holder().to_owned();
    drop(neighbour);
    assert!(ours.has_died(&neighbour_s));
}

#[test]
fn what_does_not_belong_there_is_left_alone_and_named_once() {
    let directory = TempDir::new().unwrap();
    let spool = spool(&directory);
    spool.write("one", b"sealed").unwrap().unwrap().sync().unwrap();
    leave(&directory, &format!("{FORMER}{STARTING}"), b"", Duration::ZERO);
    fs::create_dir(directory.path().join(ASIDE)).unwrap();
    spool.tidy();
    assert!(spool.told.lock().is_empty(), "all of it is ours");

    let strangers = [
        leave(&directory, "notes.txt", b"", Duration::ZERO),
        leave(&directory, "other-one.answer", b"", Duration::ZERO),
    ];
    for _ in 0..2 {
        spool.tidy();
        assert_eq!(*spool.told.lock(), HashSet::from(strangers.clone()));
    }
    assert!(strangers.iter().all(|path| path.exists()));
    assert_eq!(spool.waiting(|_| true).unwrap(), [("one".to_owned(), b"sealed".to_vec())]);
}

#[test]
fn what_is_no_answer_is_set_aside_unless_somebody_may_be_writing_it() {
    let directory = TempDir::new().unwrap();
    let spool = spool(&directory);
    let name = |name: &str| format!("{INSTALLATION}-{name}{ANSWER}");
    let too_large = vec![0; usize::try_from(LARGEST).unwrap() + 1];
    leave(&directory, &name("large"), &too_large, BEING_WRITTEN + Duration::from_secs(10));
    leave(&directory, &name("new"), &too_large, Duration::ZERO);
    leave(&directory, &name("right"), &too_large[1..], Duration::ZERO);
    fs::create_dir(directory.path().join(name("directory"))).unwrap();
    let found = spool.waiting(|_| true).unwrap();
    assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["right"]);
    assert_eq!(names(&directory.path().join(ASIDE)), [name("large")]);
    assert!(directory.path().join(name("new")).exists());
    assert_eq!(spool.waiting(|name| name != "right").unwrap(), []);
}

#[tokio::test]
async fn every_database_has_a_name_of_its_own_and_keeps_it() {
    let (world, other) = (World::new().await, World::new().await);
    let name = world.connections.installation().await.unwrap();
    assert!(name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    assert_eq!(world.connections.installation().await.unwrap(), name);
    assert_ne!(other.connections.installation().await.unwrap(), name);
}
