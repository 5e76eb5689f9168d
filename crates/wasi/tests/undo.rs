//! Files go back to a mark: whatever a program does to a directory afterwards, its tree is as it was then. And they travel: what it
//! does to a directory can be done to another one that was alike.

mod guest;

use dormouse_wasi::{
    Carried, Contents, Each, Found, Item, Mark, Original, Replica, RestoreOptions, Wasi,
    WasiConfig, WasiError, What,
};
use guest::{APPEND, CREAT, EXCL, Guest, READ, TRUNC, WRITE, options, quiet};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// A directory's contents: type, contents or target, and time of the last change.
type Tree = BTreeMap<PathBuf, (&'static str, Vec<u8>, Option<SystemTime>)>;

fn tree(dir: &Path) -> Tree {
    let mut all = Tree::new();
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_owned();
            let meta = fs::symlink_metadata(&path).unwrap();
            let one = if meta.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                ("link", target.to_string_lossy().into_owned().into_bytes(), None)
            } else if meta.is_dir() {
                open.push(path);
                ("dir", vec![], None)
            } else {
                ("file", short(&fs::read(&path).unwrap()), meta.modified().ok())
            };
            all.insert(name, one);
        }
    }
    all
}

/// Enough to tell contents apart, and to read.
fn short(bytes: &[u8]) -> Vec<u8> {
    let mut text = format!("{} bytes, {:08x}", bytes.len(), crc32c::crc32c(bytes)).into_bytes();
    text.extend(bytes.iter().take(8));
    text
}

struct Job {
    guest: Guest,
    work: PathBuf,
    undo: PathBuf,
    _dir: tempfile::TempDir,
}

impl Job {
    fn new() -> Job {
        let dir = tempfile::tempdir().unwrap();
        let (work, undo) = (dir.path().join("work"), dir.path().join("store/undo/job"));
        fs::create_dir_all(work.join("d")).unwrap();
        fs::write(work.join("a"), vec![b'a'; 10_000]).unwrap();
        fs::write(work.join("b"), "b").unwrap();
        fs::write(work.join("d/x"), "x").unwrap();
        std::os::unix::fs::symlink("a", work.join("l")).unwrap();
        let cfg = WasiConfig {
            dirs: vec![(work.clone(), "/work".to_owned())],
            stdio: quiet(b""),
            undo: Some(undo.clone()),
            carry: true,
            ..WasiConfig::default()
        };
        Job { guest: Guest::of(Wasi::new(cfg).unwrap()), work, undo, _dir: dir }
    }

    fn mark(&mut self) -> (Vec<u8>, Mark, Tree) {
        let bytes = self.guest.wasi.save().unwrap();
        (bytes, self.guest.wasi.mark().unwrap().unwrap(), tree(&self.work))
    }

    /// As after a crash: nothing of the old objects is used.
    fn back(&mut self, bytes: &[u8], mark: Mark) {
        let undo = Some(self.undo.clone());
        let restore = RestoreOptions { undo, mark: Some(mark), ..options() };
        self.guest = Guest::of(Wasi::restore(bytes, restore).unwrap());
    }
}

#[test]
fn a_database_is_as_it_was() {
    let mut job = Job::new();
    let fd = job.guest.open("a", 0, READ | WRITE, 0).unwrap();
    let (bytes, mark, then) = job.mark();
    // In the middle, over the end, and again where it was written already.
    for (at, text) in [(5_000, "new"), (9_998, "longer"), (5_001, "newer")] {
        job.guest.seek(fd, at, 0).unwrap();
        job.guest.write(fd, text.as_bytes()).unwrap();
    }
    // A journal comes and goes, and one more is left behind.
    for name in ["a-journal", "a-journal2"] {
        let journal = job.guest.open(name, CREAT | EXCL, WRITE, 0).unwrap();
        job.guest.write(journal, b"old pages").unwrap();
    }
    job.guest.unlink("a-journal").unwrap();
    assert_ne!(tree(&job.work), then);
    job.back(&bytes, mark);
    assert_eq!(tree(&job.work), then);
    // The second time there is nothing to undo; the third, what the resumed program did.
    job.back(&bytes, mark);
    job.guest.unlink("a").unwrap();
    job.back(&bytes, mark);
    assert_eq!(tree(&job.work), then);
}

#[test]
fn what_could_not_be_made_is_not_removed() {
    let mut job = Job::new();
    let (bytes, mark, then) = job.mark();
    for path in ["missing/../a", "d/missing/../../b", "missing/a", "b/../a"] {
        assert!(job.guest.mkdir(path).is_err());
        assert!(job.guest.symlink("x", path).is_err());
        assert!(job.guest.open(path, CREAT | EXCL, WRITE, 0).is_err());
    }
    // Where it failed, somebody else succeeds.
    assert!(job.guest.link("nothing", "theirs").is_err());
    fs::write(job.work.join("theirs"), "").unwrap();
    let then = {
        let mut then = then;
        then.extend(tree(&job.work));
        then
    };
    job.back(&bytes, mark);
    assert_eq!(tree(&job.work), then);
}

#[test]
fn names_with_a_slash_behind_them() {
    let mut job = Job::new();
    let (bytes, mark, then) = job.mark();
    // Which of these work is the system's affair.
    let (guest, mut done) = (&mut job.guest, 0);
    for (from, to) in [("b", "l/"), ("d", "l/"), ("d/", "e/"), ("b", "a/"), ("b/", "c")] {
        done += u32::from(guest.rename(from, to).is_ok());
    }
    for path in ["a/", "l/", "e//", &format!("{}d", "./".repeat(3000))] {
        done += u32::from(guest.unlink(path).is_ok()) + u32::from(guest.rmdir(path).is_ok());
    }
    assert!(done > 1);
    guest.mkdir(&format!("{}new", "./".repeat(3000))).unwrap();
    job.back(&bytes, mark);
    assert_eq!(tree(&job.work), then);
}

#[test]
fn marks_of_a_past_that_was_undone_lead_nowhere() {
    let mut job = Job::new();
    let first = job.mark();
    fs::write(job.work.join("made by somebody else"), "").unwrap();
    job.guest.mkdir("made by the program").unwrap();
    let second = job.mark();
    job.back(&first.0, first.1);
    assert!(job.work.join("made by somebody else").exists());
    assert!(!job.work.join("made by the program").exists());
    assert!(!job.guest.wasi.is_stranded());
    job.guest.unlink("b").unwrap();
    let now = tree(&job.work);
    job.back(&second.0, second.1);
    assert!(job.guest.wasi.is_stranded());
    assert_eq!(tree(&job.work), now);
    // From here on it is known.
    job.guest.unlink("a").unwrap();
    job.back(&second.0, second.1);
    assert!(!job.guest.wasi.is_stranded());
    assert_eq!(tree(&job.work), now);
}

#[test]
fn a_way_back_that_was_not_gone_to_its_end_is_told() {
    let mut job = Job::new();
    let first = job.mark();
    job.guest.unlink("b").unwrap();
    let second = job.mark();
    job.guest.mkdir("made").unwrap();
    let (bytes, mark, _) = job.mark();
    job.guest.unlink("l").unwrap();
    // The log in the middle is damaged: what was undone by then must not be taken for what was at the third mark.
    let log = job.undo.join(format!("{:016x}.undo", second.1));
    let good = fs::read(&log).unwrap();
    fs::write(&log, "").unwrap();
    let restore = |(bytes, mark): (&[u8], Mark), undo: &Path| {
        let undo = Some(undo.to_owned());
        Wasi::restore(bytes, RestoreOptions { undo, mark: Some(mark), ..options() })
    };
    let undo = job.undo.clone();
    let rehearsed = RestoreOptions { undo: Some(undo.clone()), mark: Some(first.1), ..options() };
    let refused = Wasi::rehearse(&first.0, rehearsed).unwrap_err().to_string();
    assert_eq!(restore((&first.0, first.1), &undo).unwrap_err().to_string(), refused);
    assert!(job.work.join("made").exists());
    assert!(restore((&bytes, mark), &undo).unwrap().is_stranded());
    // With the log it goes on where it stopped.
    fs::write(&log, good).unwrap();
    job.back(&first.0, first.1);
    assert_eq!(tree(&job.work), first.2);
}

#[test]
fn a_job_that_came_from_another_place_can_be_resumed_twice() {
    let mut job = Job::new();
    let (bytes, mark, then) = job.mark();
    fs::remove_dir_all(&job.undo).unwrap();
    for _ in 0..2 {
        job.back(&bytes, mark);
        assert!(!job.guest.wasi.is_stranded());
        assert_eq!(tree(&job.work), then);
        job.guest.unlink("a").unwrap();
        job.guest.mkdir("made").unwrap();
    }
}

#[test]
fn a_deleted_file_cannot_be_saved_and_has_no_names() {
    let mut job = Job::new();
    let fd = job.guest.open("b", 0, READ | WRITE, 0).unwrap();
    let (bytes, mark, then) = job.mark();
    job.guest.unlink("b").unwrap();
    job.guest.write(fd, b"into nothing").unwrap();
    let names = |job: &mut Job| {
        job.guest.fstat(fd).unwrap();
        job.guest.u64(guest::DATA + 24)
    };
    assert_eq!(names(&mut job), 0);
    let refused = job.guest.wasi.save().unwrap_err().to_string();
    assert!(refused.contains("was deleted"), "{refused}");
    job.back(&bytes, mark);
    assert_eq!(tree(&job.work), then);
    assert_eq!(names(&mut job), 1);
}

#[test]
fn what_cannot_be_undone_is_told() {
    let mut job = Job::new();
    let (bytes, mark, _) = job.mark();
    job.guest.unlink("b").unwrap();
    job.guest.unlink("a").unwrap();
    let logs: Vec<PathBuf> = fs::read_dir(&job.undo)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "undo"))
        .collect();
    let [log] = &logs[..] else { panic!("{logs:?}") };
    let good = fs::read(log).unwrap();
    let mut bad = good.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    for broken in [&b""[..], b"DMUL\x02\0\0\0", &bad] {
        fs::write(log, broken).unwrap();
        let undo = Some(job.undo.clone());
        let restore = RestoreOptions { undo, mark: Some(mark), ..options() };
        let why = Wasi::restore(&bytes, restore).unwrap_err().to_string();
        assert!(why.contains("resume with --files none"), "{why}");
    }
    // The end of the process in mid-write leaves half a record, whose deed was not done.
    fs::write(log, [&good[..], &good[good.len() - 5..]].concat()).unwrap();
    job.back(&bytes, mark);
    assert!(job.work.join("a").exists() && job.work.join("b").exists());
}

/// What a program can do to a directory.
#[derive(Clone, Debug)]
enum Deed {
    Open(usize, u32, u32),
    Write(usize, u16, Vec<u8>),
    Resize(usize, u16),
    Close(usize),
    Unlink(usize),
    Rmdir(usize),
    Mkdir(usize),
    Rename(usize, usize),
    Link(usize, usize),
    Symlink(usize, usize),
    Times(usize),
    Mark,
}

/// Contents by path, or an error in their place.
#[derive(Debug)]
struct Kept(BTreeMap<String, Result<Vec<u8>, &'static str>>);

impl Contents for Kept {
    fn read(&self, each: &mut Each<'_>) -> io::Result<()> {
        self.0.iter().try_for_each(|(path, bytes)| {
            let bytes = bytes.as_ref().map_err(|why| io::Error::other(*why))?;
            each(0, path, &mut &bytes[..])
        })
    }
}

fn carried(items: Vec<Item>, contents: &[(&str, Result<&str, &'static str>)]) -> Carried {
    let kept = contents
        .iter()
        .map(|(path, bytes)| ((*path).to_owned(), bytes.map(|bytes| bytes.as_bytes().to_vec())));
    Carried { items, contents: Arc::new(Kept(kept.collect())) }
}

fn item(path: &str, what: What) -> Item {
    Item { dir: 0, path: path.to_owned(), what }
}

fn file(path: &str, text: &str) -> Item {
    let mtime = 1_700_000_000_000_000_001;
    item(path, What::File { mode: 0o640, mtime, size: text.len() as u64 })
}

/// What a job's checkpoints hold of its files: each was copied when it was found changed.
#[derive(Default)]
struct Image(BTreeMap<String, (Found, Vec<u8>)>);

impl Image {
    /// A checkpoint.
    fn look(&mut self, wasi: &mut Wasi) -> Result<(), WasiError> {
        let mut now = BTreeMap::new();
        for found in wasi.changed_files()?.unwrap() {
            let path = found.item.path.clone();
            let kept = self.0.remove(&path).filter(|(earlier, _)| found.is_still(earlier));
            let bytes = match kept {
                Some((_, bytes)) => bytes,
                None => {
                    let mut copy = tempfile::tempfile().unwrap();
                    wasi.copy_file(&found, &copy)?;
                    let mut bytes = vec![];
                    copy.rewind().unwrap();
                    copy.read_to_end(&mut bytes).unwrap();
                    bytes
                }
            };
            now.insert(path, (found, bytes));
        }
        self.0 = now;
        Ok(())
    }

    fn carried(&self) -> Carried {
        let contents = self.0.iter().map(|(path, (_, bytes))| (path.clone(), Ok(bytes.clone())));
        let items = self.0.values().map(|(found, _)| found.item.clone()).collect();
        Carried { items, contents: Arc::new(Kept(contents.collect())) }
    }
}

/// Copies a directory, with the times of its files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        let meta = from.symlink_metadata().unwrap();
        if meta.is_symlink() {
            std::os::unix::fs::symlink(from.read_link().unwrap(), &to).unwrap();
        } else if meta.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
            let file = fs::File::options().write(true).open(&to).unwrap();
            file.set_modified(meta.modified().unwrap()).unwrap();
        }
    }
}

/// Objects as they were saved, with a directory at another place and what travelled with them.
fn moved(bytes: &[u8], to: &Path, carried: Carried, clone: bool) -> Result<Wasi, WasiError> {
    let dirs = vec![(to.to_owned(), "/work".to_owned())];
    let restore = RestoreOptions { dirs, carry: true, carried: Some(carried), clone, ..options() };
    Wasi::restore(bytes, restore)
}

#[test]
fn a_recreation_that_fails_can_be_made_again() {
    let job = Job::new();
    let bytes = job.guest.wasi.save().unwrap();
    let to = job.work.with_file_name("to");
    let items =
        vec![file("a", "one"), file("b/c", "two"), item("l", What::Link { target: "a".into() })];
    let broken = carried(items.clone(), &[("a", Ok("one")), ("b/c", Err("torn"))]);
    let why = moved(&bytes, &to, broken, false).unwrap_err().to_string();
    assert!(why.contains("torn"), "{why}");
    let short = carried(items.clone(), &[("a", Ok("one")), ("b/c", Ok("t"))]);
    let why = moved(&bytes, &to, short, false).unwrap_err().to_string();
    assert!(why.contains("putting back \"/work/b/c\""), "{why}");
    let whole = || carried(items.clone(), &[("a", Ok("one")), ("b/c", Ok("two"))]);
    drop(moved(&bytes, &to, whole(), false).unwrap());
    let then = tree(&to);
    let names: Vec<_> = then.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", "b/c", "l"], "nothing else is left");
    assert_eq!(then[Path::new("b/c")].1, short_of("two"));
    // Whoever made this: it is not ours.
    fs::write(to.join(".dormouse-resume.tmp"), "half").unwrap();
    fs::write(to.join("a"), "two").unwrap();
    drop(moved(&bytes, &to, whole(), false).unwrap());
    assert_eq!(fs::read(to.join(".dormouse-resume.tmp")).unwrap(), b"half");
    fs::remove_file(to.join(".dormouse-resume.tmp")).unwrap();
    assert_eq!(tree(&to), then);
}

/// Where the next test's child works, and after how many files it is killed.
const KILLED: &str = "DORMOUSE_TEST_KILLED";

/// Contents, of which one ends in the middle, and the process with it.
#[derive(Debug)]
struct Deadly(Carried, usize);

impl Contents for Deadly {
    fn read(&self, each: &mut Each<'_>) -> io::Result<()> {
        let mut before = self.1;
        self.0.contents.read(&mut |dir, path, bytes| {
            if before > 0 {
                before -= 1;
                return each(dir, path, bytes);
            }
            let mut half = [0];
            bytes.read_exact(&mut half)?;
            each(dir, path, &mut (&half[..]).chain(End))
        })
    }
}

struct End;

impl Read for End {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        use rustix::process::{Signal, getpid, kill_process};
        kill_process(getpid(), Signal::KILL)?;
        unreachable!("it was killed")
    }
}

/// The process is killed in the middle of putting files back, at each of them; and then it is made again.
#[test]
fn a_recreation_that_is_killed_can_be_made_again() {
    let contents: Vec<_> =
        ["a", "b", "c/d", "c/e"].into_iter().zip(["one", "two", "3", "four"]).collect();
    let mut items: Vec<Item> = contents.iter().map(|(path, text)| file(path, text)).collect();
    items.extend([item("gone", What::Gone), item("l", What::Link { target: "a".into() })]);
    let contents: Vec<_> = contents.into_iter().map(|(path, text)| (path, Ok(text))).collect();
    let whole = || carried(items.clone(), &contents);
    if let Some(told) = std::env::var_os(KILLED) {
        let told = told.into_string().unwrap();
        let (after, dir) = told.split_once(' ').unwrap();
        let bytes = fs::read(Path::new(dir).join("state")).unwrap();
        let deadly = Deadly(whole(), after.parse().unwrap());
        let deadly = Carried { items, contents: Arc::new(deadly) };
        drop(moved(&bytes, &Path::new(dir).join("to"), deadly, false));
        panic!("it was not killed");
    }
    for after in 0..contents.len() {
        let job = Job::new();
        let bytes = job.guest.wasi.save().unwrap();
        let dir = job.work.parent().unwrap();
        fs::write(dir.join("state"), &bytes).unwrap();
        let to = dir.join("to");
        fs::create_dir(&to).unwrap();
        // Older ones are in its way.
        for name in ["b", "gone", "l"] {
            fs::write(to.join(name), "older").unwrap();
        }
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_recreation_that_is_killed_can_be_made_again"])
            .env(KILLED, format!("{after} {}", dir.display()))
            .output()
            .unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.status.signal(), Some(9), "{after}: {child:?}");
        // What is there under a file's name is whole, and the older or the newer.
        for (path, text) in &contents {
            let found = fs::read_to_string(to.join(path)).unwrap_or_default();
            assert!([text.unwrap(), "", "older"].contains(&&found[..]), "{after}: {path}: {found}");
        }
        drop(moved(&bytes, &to, whole(), false).unwrap());
        let left: Vec<PathBuf> = tree(&to).into_keys().collect();
        let ours = |path: &&PathBuf| !path.to_string_lossy().contains(".dormouse-resume-");
        let names: Vec<_> = left.iter().filter(ours).map(|path| path.to_str().unwrap()).collect();
        assert_eq!(names, ["a", "b", "c", "c/d", "c/e", "l"], "{after}");
        assert!(left.len() - names.len() <= 1, "{after}: {left:?}");
        for (path, text) in &contents {
            assert_eq!(fs::read_to_string(to.join(path)).unwrap(), text.unwrap());
        }
    }
}

/// A name that cannot be carried is no reason to fail once it is gone.
#[test]
fn strange_names_are_looked_at_again() {
    use std::os::unix::ffi::OsStrExt;
    let mut job = Job::new();
    job.guest.mkdir("s").unwrap();
    let strange = std::ffi::OsStr::from_bytes(b"\xff");
    fs::write(job.work.join("s").join(strange), "").unwrap();
    job.guest.rename("s", "t").unwrap();
    let why = job.guest.wasi.changed_files().unwrap_err().to_string();
    assert!(why.contains("not UTF-8"), "{why}");
    fs::remove_file(job.work.join("t").join(strange)).unwrap();
    job.guest.wasi.changed_files().unwrap();
}

fn short_of(text: &str) -> Vec<u8> {
    short(text.as_bytes())
}

#[test]
fn what_stands_in_the_way_is_not_written_through() {
    let job = Job::new();
    let bytes = job.guest.wasi.save().unwrap();
    let to = job.work.with_file_name("to");
    fs::create_dir_all(to.join("real")).unwrap();
    std::os::unix::fs::symlink("real", to.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc", to.join("out")).unwrap();
    fs::write(to.join("file"), "").unwrap();
    fs::write(to.join("real/x"), "theirs").unwrap();
    let before = tree(&to);
    for above in ["link", "out", "file"] {
        let path = format!("{above}/x");
        let one = carried(vec![file(&path, "evil")], &[(&path, Ok("evil"))]);
        let why = moved(&bytes, &to, one, false).unwrap_err().to_string();
        assert!(why.contains(&format!("\"/work/{above}\" is no directory here")), "{why}");
        let gone = carried(vec![item(&path, What::Gone)], &[]);
        drop(moved(&bytes, &to, gone, false).unwrap());
    }
    assert_eq!(tree(&to), before);
    // Nor is anything outside of the directory.
    for path in ["../evil", "real/../../evil"] {
        let one = carried(vec![file(path, "evil")], &[(path, Ok("evil"))]);
        assert!(moved(&bytes, &to, one, false).is_err());
    }
    assert!(!to.with_file_name("evil").exists());
    let one = Item { dir: 7, ..file("a", "a") };
    assert!(matches!(
        moved(&bytes, &to, carried(vec![one], &[]), false),
        Err(WasiError::Damaged { .. })
    ));
}

#[test]
fn all_names_of_a_file_change_with_it() {
    let mut job = Job::new();
    let mut image = Image::default();
    let fd = job.guest.open("a", 0, READ | WRITE, 0).unwrap();
    job.guest.link("a", "other").unwrap();
    for text in ["first", "again", "third"] {
        job.guest.seek(fd, 0, 0).unwrap();
        job.guest.write(fd, text.as_bytes()).unwrap();
        image.look(&mut job.guest.wasi).unwrap();
        for name in ["a", "other"] {
            assert!(image.0[name].1.starts_with(text.as_bytes()), "{name}: {text}");
        }
    }
}

#[test]
fn what_came_and_went_is_forgotten() {
    let mut job = Job::new();
    for round in 0..100 {
        let name = format!("temp{round}");
        let fd = job.guest.open(&name, CREAT | EXCL, WRITE, 0).unwrap();
        job.guest.write(fd, b"x").unwrap();
        job.guest.close(fd).unwrap();
        match round % 2 {
            0 => job.guest.unlink(&name).unwrap(),
            _ => job.guest.rename(&name, "b").unwrap(),
        }
        job.guest.mkdir("e").unwrap();
        job.guest.rmdir("e").unwrap();
    }
    let found = job.guest.wasi.changed_files().unwrap().unwrap();
    let paths: Vec<_> = found.iter().map(|found| &found.item.path).collect();
    assert_eq!(paths, ["b"]);
}

const NAMES: [&str; 8] = ["a", "b", "c", "l", "d", "d/x", "d/y", "e"];

fn deed() -> impl Strategy<Value = Deed> {
    let name = || 0..NAMES.len();
    let flags =
        prop_oneof![Just(0), Just(CREAT), Just(CREAT | EXCL), Just(TRUNC), Just(CREAT | TRUNC)];
    let data = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (any::<u8>(), 4000..9000usize).prop_map(|(b, n)| vec![b; n]),
    ];
    prop_oneof![
        4 => (name(), flags, prop_oneof![3 => Just(0), 1 => Just(APPEND)])
            .prop_map(|(n, f, a)| Deed::Open(n, f, a)),
        6 => (0..4usize, 0..12_000u16, data).prop_map(|(f, at, d)| Deed::Write(f, at, d)),
        2 => (0..4usize, 0..12_000u16).prop_map(|(f, size)| Deed::Resize(f, size)),
        1 => (0..4usize).prop_map(Deed::Close),
        3 => name().prop_map(Deed::Unlink),
        1 => name().prop_map(Deed::Rmdir),
        1 => name().prop_map(Deed::Mkdir),
        4 => (name(), name()).prop_map(|(a, b)| Deed::Rename(a, b)),
        1 => (name(), name()).prop_map(|(a, b)| Deed::Link(a, b)),
        1 => (name(), name()).prop_map(|(a, b)| Deed::Symlink(a, b)),
        1 => name().prop_map(Deed::Times),
        2 => Just(Deed::Mark),
    ]
}

impl Job {
    /// A second set of the directories is as it was at the mark; the first stays as it is, and so does its log.
    fn replica(&self, (saved, mark, then): &(Vec<u8>, Mark, Tree)) {
        let both = || (tree(&self.work), tree(&self.undo));
        let (before, into) = (both(), self.work.with_file_name("replica"));
        let original = Original {
            saved,
            without: &[],
            undo: Some((&self.undo, *mark)),
            most: 1 << 30,
            except: None,
            carried: false,
        };
        let replica = Replica::make(&original, &into).unwrap();
        assert_eq!(replica.dirs, [(into.join("0"), "/work".to_owned())]);
        assert!(!replica.stranded && !into.join("undo").exists());
        assert_eq!(&tree(&into.join("0")), then);
        assert_eq!(both(), before);
    }

    /// Does it; whether that works is not the question.
    fn act(&mut self, deed: &Deed, open: &mut Vec<u32>, marks: &mut Vec<(Vec<u8>, Mark, Tree)>) {
        let g = &mut self.guest;
        let fd = |i: &usize, open: &[u32]| open.get(i % open.len().max(1)).copied();
        match deed {
            Deed::Open(n, flags, append) => {
                if let Ok(fd) = g.open(NAMES[*n], *flags, READ | WRITE, *append) {
                    open.push(fd);
                }
            }
            Deed::Write(f, at, data) => {
                if let Some(fd) = fd(f, open) {
                    let _ = g.seek(fd, (*at).into(), 0);
                    let _ = g.write(fd, data);
                }
            }
            Deed::Resize(f, size) => {
                if let Some(fd) = fd(f, open) {
                    let _ = g.wasi.fd_filestat_set_size(&mut g.mem, fd, (*size).into());
                }
            }
            Deed::Close(f) => {
                if let Some(fd) = fd(f, open) {
                    g.close(fd).unwrap();
                    open.retain(|o| *o != fd);
                }
            }
            Deed::Unlink(n) => drop(g.unlink(NAMES[*n])),
            Deed::Rmdir(n) => drop(g.rmdir(NAMES[*n])),
            Deed::Mkdir(n) => drop(g.mkdir(NAMES[*n])),
            Deed::Rename(a, b) => drop(g.rename(NAMES[*a], NAMES[*b])),
            Deed::Link(a, b) => drop(g.link(NAMES[*a], NAMES[*b])),
            Deed::Symlink(a, b) => drop(g.symlink(NAMES[*a], NAMES[*b])),
            Deed::Times(n) => drop(g.set_times(NAMES[*n], 7)),
            Deed::Mark => {
                // Refused while a deleted file is open.
                if self.guest.wasi.save().is_ok() {
                    marks.push(self.mark());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_deeds_are_undone(
        before in proptest::collection::vec(deed(), 0..10),
        after in proptest::collection::vec(deed(), 1..40),
        again in proptest::collection::vec(deed(), 0..20),
        to in any::<prop::sample::Index>(),
        earlier in any::<prop::sample::Index>(),
    ) {
        let mut job = Job::new();
        let (mut open, mut marks) = (vec![], vec![]);
        for deed in &before {
            job.act(deed, &mut open, &mut marks);
        }
        while let Some(fd) = open.pop() {
            job.guest.close(fd).unwrap();
        }
        marks.push(job.mark());
        for deed in &after {
            job.act(deed, &mut open, &mut marks);
        }
        let at = to.index(marks.len());
        job.replica(&marks[at]);
        job.back(&marks[at].0, marks[at].1);
        prop_assert_eq!(&tree(&job.work), &marks[at].2);
        // And from there on, back to that mark or an earlier one.
        marks.truncate(at + 1);
        for deed in &again {
            job.act(deed, &mut vec![], &mut marks);
        }
        let at = earlier.index(at + 1);
        job.back(&marks[at].0, marks[at].1);
        prop_assert_eq!(&tree(&job.work), &marks[at].2);
    }

    /// What was done to a directory can be done to one that was alike; and what a program does there, again.
    #[test]
    fn any_deeds_travel(
        deeds in proptest::collection::vec(deed(), 1..40),
        again in proptest::collection::vec(deed(), 0..20),
    ) {
        let mut job = Job::new();
        let (first, second) = (job.work.with_file_name("first"), job.work.with_file_name("second"));
        copy(&job.work, &first);
        copy(&job.work, &second);
        let mut image = Image::default();
        for (deeds, to) in [(deeds, first), (again, second)] {
            let mut open = vec![];
            for deed in &deeds {
                match deed {
                    // Refused while a deleted file is open.
                    Deed::Mark => drop(image.look(&mut job.guest.wasi)),
                    deed => job.act(deed, &mut open, &mut vec![]),
                }
            }
            for fd in open {
                job.guest.close(fd).unwrap();
            }
            image.look(&mut job.guest.wasi).unwrap();
            let bytes = job.guest.wasi.save().unwrap();
            job.guest = Guest::of(moved(&bytes, &to, image.carried(), false).unwrap());
            prop_assert_eq!(tree(&to), tree(&job.work));
            job.work = to;
            image = Image::default();
        }
    }
}
