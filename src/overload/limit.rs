//! How much memory the system lets this process take: as much as its control groups allow (cgroups(7)), or as the machine has.

use rustix::system::sysinfo;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The smallest limit, in bytes.
pub(super) fn of_this_process() -> u64 {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let groups = of_groups(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"), Path::new("/"));
    groups.into_iter().fold(of_machine(), u64::min)
}

#[allow(clippy::useless_conversion)] // not on every architecture
fn of_machine() -> u64 {
    let machine = sysinfo();
    u64::from(machine.totalram).saturating_mul(machine.mem_unit.into())
}

/// What control groups allow, by what the kernel says about them (`/proc/self/cgroup`, `/proc/self/mountinfo`); paths are `under` another
/// root in tests.
pub(super) fn of_groups(groups: &str, mounts: &str, under: &Path) -> Option<u64> {
    mounts.lines().filter_map(Hierarchy::parse).filter_map(|hierarchy| hierarchy.limit(groups, under)).min()
}

/// Where control groups are mounted that limit memory.
struct Hierarchy<'t> {
    /// The group that is seen at `point`.
    root: &'t Path,
    point: &'t Path,
    version: Version,
}

#[derive(Clone, Copy)]
enum Version {
    One,
    Two,
}

impl Version {
    /// The files of a group that have a limit in bytes. `memory.high` is one, too: beyond it a process is slowed down until it stands.
    fn files(self) -> &'static [&'static str] {
        match self {
            Version::One => &["memory.limit_in_bytes"],
            Version::Two => &["memory.max", "memory.high"],
        }
    }

    /// The group of this process: a line is `number:controllers:path`, and version 2 has neither number nor controllers.
    fn group(self, groups: &str) -> Option<&Path> {
        groups.lines().find_map(|line| {
            let (number, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_it = match self {
                Version::One => controllers.split(',').any(|controller| controller == "memory"),
                Version::Two => number == "0" && controllers.is_empty(),
            };
            is_it.then_some(Path::new(path))
        })
    }
}

impl<'t> Hierarchy<'t> {
    /// A line of `mountinfo` (proc_pid_mountinfo(5)), if it is about one.
    fn parse(line: &'t str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3).map(Path::new);
        let (root, point) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let version = match (kind.next()?, kind.nth(1)?) {
            ("cgroup2", _) => Version::Two,
            ("cgroup", options) if options.split(',').any(|option| option == "memory") => Version::One,
            _ => return None,
        };
        Some(Self { root, point, version })
    }

    /// The smallest limit of the group and of those that it is in, as far as they are seen.
    fn limit(&self, groups: &str, under: &Path) -> Option<u64> {
        let group = self.version.group(groups)?;
        let point = under.join(self.point.strip_prefix("/").ok()?);
        let inner = point.join(self.inside(group));
        let seen = inner.ancestors().take_while(|group| group.starts_with(&point));
        let files = seen.flat_map(|group| self.version.files().iter().map(move |file| group.join(file)));
        files.filter_map(limit_in).min()
    }

    /// The way from the mount point to the group. In a container the root may be the group itself, or one beside it.
    fn inside(&self, group: &'t Path) -> &'t Path {
        let inside = group.strip_prefix(self.root).unwrap_or(Path::new(""));
        let leads_out = inside.components().any(|part| part == Component::ParentDir);
        if leads_out { Path::new("") } else { inside }
    }
}

/// `None` for `max`, and where there is no such file.
fn limit_in(file: PathBuf) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
