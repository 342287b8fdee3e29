use super::*;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

#[test]
fn connections_are_refused_first_then_requests_and_afterwards_nothing() {
    let overload = Overload::new(Some(100 * MIB), Arc::default());
    let says = |used| {
        overload.judge(used);
        (overload.has_room_for_connection(0), overload.has_room() && overload.has_room_for(0))
    };
    assert_eq!(says(75 * MIB - 1), (true, true));
    assert_eq!(says(75 * MIB), (false, true));
    assert_eq!(says(85 * MIB - 1), (false, true));
    assert_eq!(says(85 * MIB), (false, false));
    assert_eq!(says(u64::MAX), (false, false));
    // What is near to a bound does not change its mind with every page.
    assert_eq!(says(80 * MIB), (false, false));
    assert_eq!(says(80 * MIB - 1), (false, true));
    assert_eq!(says(70 * MIB), (false, true));
    assert_eq!(says(70 * MIB - 1), (true, true));
    assert_eq!(says(74 * MIB), (true, true));
    assert_eq!(says(85 * MIB), (false, false));
    assert_eq!(says(0), (true, true));
    overload.allow(Some(1));
    assert_eq!(says(10), (false, false));
    // The machine has more than this test takes.
    overload.allow(None);
    assert_eq!(says(10), (true, true));
    assert_eq!(overload.metrics.memory_limit.get(), i64::try_from(limit::of_this_process()).unwrap());
}

#[test]
fn what_a_process_takes_is_seen() {
    const TAKEN: usize = 64 << 20;
    let usage = Usage::of_this_process().unwrap();
    let before = usage.bytes().unwrap();
    let taken = vec![1_u8; TAKEN];
    let after = usage.bytes().unwrap();
    // Other tests of this process give some back meanwhile.
    assert!(after > before + TAKEN as u64 / 2, "{before}, and {after} with {} more", taken.len());
}

#[test]
fn who_takes_much_at_once_is_seen_at_once() {
    // Which any program takes.
    let overload = Overload::new(Some(128), Arc::default());
    assert!(overload.has_room_for(1) && overload.has_room_for_connection(0));
    assert!(!overload.has_room_for(1) && !overload.has_room_for_connection(0));
}

#[tokio::test]
async fn somebody_looks() {
    let overload = Arc::new(Overload::new(Some(1), Arc::default()));
    let watching = tokio::spawn(overload.clone().watch());
    while overload.has_room() {
        tokio::task::yield_now().await;
    }
    watching.abort();
}

/// Control groups as files, which is what they are.
struct Groups(TempDir);

impl Groups {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        for (file, text) in files {
            let file = directory.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, format!("{text}\n")).unwrap();
        }
        Self(directory)
    }

    fn limit(&self, groups: &str, mounts: &str) -> Option<u64> {
        limit::of_groups(groups, mounts, self.0.path())
    }
}

#[test]
fn the_smallest_limit_of_a_group_and_those_around_it_counts() {
    const MOUNTS: &str = "\
        24 1 253:0 / / rw - ext4 /dev/vda rw\n\
        31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
    const GROUP: &str = "0::/system.slice/portcullis.service";
    let (max, slice) =
        ("sys/fs/cgroup/system.slice/portcullis.service/memory.max", "sys/fs/cgroup/system.slice/memory.max");
    assert_eq!(Groups::new(&[(max, "max"), (slice, "max")]).limit(GROUP, MOUNTS), None);
    assert_eq!(Groups::new(&[(max, "536870912"), (slice, "max")]).limit(GROUP, MOUNTS), Some(512 * MIB));
    assert_eq!(Groups::new(&[(max, "536870912"), (slice, "1048576")]).limit(GROUP, MOUNTS), Some(MIB));
    let high = "sys/fs/cgroup/system.slice/portcullis.service/memory.high";
    assert_eq!(Groups::new(&[(max, "536870912"), (high, "268435456")]).limit(GROUP, MOUNTS), Some(256 * MIB));
    // What is above the mount point is nobody's business.
    let outside = [(max, "max"), ("sys/fs/memory.max", "1"), ("memory.max", "1")];
    assert_eq!(Groups::new(&outside).limit(GROUP, MOUNTS), None);
}

#[test]
fn a_container_sees_its_own_group_only() {
    // With a namespace of its own, without one, and with one that begins elsewhere.
    for (group, root) in [("0::/", "/"), ("0::/docker/abc", "/docker/abc"), ("0::/../other", "/")] {
        let mounts = format!("31 24 0:27 {root} /sys/fs/cgroup ro - cgroup2 cgroup rw");
        let groups = Groups::new(&[("sys/fs/cgroup/memory.max", "1048576")]);
        assert_eq!(groups.limit(group, &mounts), Some(MIB), "{group}");
    }
}

#[test]
fn groups_of_version_1_are_known_by_their_controller() {
    const MOUNTS: &str = "\
        32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
    const GROUP: &str = "4:memory:/a/b\n1:cpu,cpuacct:/c\n0::/d";
    let groups = Groups::new(&[
        ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712"),
        ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2097152"),
        ("sys/fs/cgroup/cpu/c/memory.limit_in_bytes", "1"),
        ("sys/fs/cgroup/unified/d/cgroup.procs", ""),
    ]);
    assert_eq!(groups.limit(GROUP, MOUNTS), Some(2 * MIB));
}

#[test]
fn a_machine_without_control_groups_has_its_own_memory() {
    assert_eq!(limit::of_groups("", "", Path::new("/")), None);
    assert_eq!(limit::of_groups("nonsense", "31 24 - cgroup2\n - \n", Path::new("/")), None);
    let limit = limit::of_this_process();
    assert!((64 * MIB..1 << 50).contains(&limit), "{limit}");
}
