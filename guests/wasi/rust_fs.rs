//! std::fs.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

include!("check.rs");

fn unit<T>(result: std::io::Result<T>) -> std::io::Result<()> {
    result.map(drop)
}

fn text(path: impl AsRef<Path>) -> std::io::Result<String> {
    fs::read_to_string(path)
}

/// Every way to open: read, write, append, truncate, create and create_new, each or not. One line a path, one word a way.
pub fn open_options() {
    for path in ["file", "dir", "dangling", "dir/new"] {
        print!("{path}");
        for bits in 0..64u32 {
            let on = |bit: u32| bits & 1 << bit != 0;
            fs::write("/work/file", "0123").unwrap();
            let _ = fs::remove_file("/work/nowhere");
            let _ = fs::remove_file("/work/dir/new");
            let mut options = OpenOptions::new();
            options.read(on(0)).write(on(1)).append(on(2)).truncate(on(3)).create(on(4)).create_new(on(5));
            match options.open(format!("/work/{path}")) {
                Err(e) => print!(" {}", e.raw_os_error().unwrap_or(-1)),
                Ok(mut file) => {
                    let wrote = file.write(b"xy").is_ok() as u8;
                    let read = file.read(&mut [0; 8]).map_or(9, |n| n);
                    let len = file.metadata().map_or(0, |m| if m.is_dir() { 0 } else { m.len() });
                    print!(" {wrote}/{read}/{len}");
                }
            }
        }
        println!();
    }
}

pub fn files() {
    say("write", fs::write("/work/new", "some text"));
    say("read", text("/work/new"));
    say("copy", fs::copy("/work/new", "/other/copy"));
    say("read copy", text("/other/copy"));
    say("copy a directory", fs::copy("/work/dir", "/other/dir"));
    say("not UTF-8", fs::write("/work/raw", b"\xff\xfe").and_then(|()| text("/work/raw")));
    say("exists", fs::exists("/work/new"));
    say("does not", fs::exists("/work/nothing"));
    say("through a file", fs::exists("/work/file/x"));
    say("outside", unit(File::open("/elsewhere")));
    say("relative", text("nested/file"));
    say("remove", fs::remove_file("/work/new"));
    say("again", fs::remove_file("/work/new"));
    say("remove a directory as a file", fs::remove_file("/work/dir"));
    say("empty path", unit(File::open("")));
    say("NUL", unit(File::open("/work/a\0b")));
    say("long", unit(File::create(format!("/work/{}", "n".repeat(256)))));
    say("name of every kind", fs::write("/work/ü€😀 \n\\", "x"));
}

pub fn seeking() {
    let mut file = OpenOptions::new().read(true).write(true).open("/work/file").unwrap();
    let mut buf = [0; 4];
    say("read", file.read(&mut buf));
    for to in [SeekFrom::Start(2), SeekFrom::Current(3), SeekFrom::Current(-9), SeekFrom::End(-1), SeekFrom::End(5), SeekFrom::Start(u64::MAX)] {
        println!("{to:?}");
        say("seek", file.seek(to));
        say("position", file.stream_position());
        say("read", file.read(&mut buf));
    }
    say("rewind", file.rewind());
    say("set_len", file.set_len(3));
    say("whole", { let mut s = String::new(); file.read_to_string(&mut s).map(|_| s) });
    say("set_len", file.set_len(6));
    say("beyond", file.seek(SeekFrom::Start(8)).and_then(|_| file.write(b"end")));
    say("sync", file.sync_all());
    say("sync data", file.sync_data());
    say("read", fs::read("/work/file"));
    say("second descriptor", unit(file.try_clone()));
    say("lock", file.try_lock().map_err(Into::into));
}

pub fn vectored() {
    let mut file = File::create("/work/v").unwrap();
    say("write", file.write_vectored(&[std::io::IoSlice::new(b""), std::io::IoSlice::new(b"abc"), std::io::IoSlice::new(b"def")]));
    say("write all", file.write_all(b"0123456789"));
    let mut file = File::open("/work/v").unwrap();
    let (mut a, mut b) = ([0; 2], [0; 3]);
    say("read", file.read_vectored(&mut [std::io::IoSliceMut::new(&mut a), std::io::IoSliceMut::new(&mut b)]));
    println!("{a:?} {b:?}");
}

/// More than any buffer holds, written and read in lines.
pub fn large() {
    let mut out = BufWriter::new(File::create("/work/large").unwrap());
    for i in 0..600 {
        writeln!(out, "line {i}").unwrap();
    }
    say("flush", out.flush());
    let lines = BufReader::new(File::open("/work/large").unwrap()).lines();
    let sum: u64 = lines.map(|line| line.unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    println!("{sum}");
    println!("{}", fs::metadata("/work/large").unwrap().len());
}

pub fn directories() {
    say("create", fs::create_dir("/work/new"));
    say("again", fs::create_dir("/work/new"));
    say("without parents", fs::create_dir("/work/x/y/z"));
    say("all", fs::create_dir_all("/work/x/y/z"));
    say("all again", fs::create_dir_all("/work/x/y/z"));
    say("all over a file", fs::create_dir_all("/work/file/y"));
    say("remove", fs::remove_dir("/work/new"));
    say("full", fs::remove_dir("/work/x"));
    say("a file", fs::remove_dir("/work/file"));
    say("write", fs::write("/work/x/y/file", "x"));
    say("all of it", fs::remove_dir_all("/work/x"));
    say("all of nothing", fs::remove_dir_all("/work/x"));
    say("all of a file", fs::remove_dir_all("/work/file"));
    say("file", text("/work/file"));
}

/// More names than fit into a buffer of the library; then some of them go while others are read.
pub fn many_names() {
    fs::create_dir("/work/many").unwrap();
    for i in 0..150 {
        let name = format!("/work/many/{i:03}{}", "x".repeat(i % 50));
        if i % 10 == 0 { fs::create_dir(name).unwrap() } else { fs::write(name, "").unwrap() }
    }
    let mut names: Vec<_> = fs::read_dir("/work/many").unwrap().map(|e| e.unwrap()).map(|e| (e.file_name(), e.file_type().unwrap().is_dir())).collect();
    names.sort();
    println!("{} {}", names.len(), names.iter().filter(|n| n.1).count());
    println!("{:?} {:?}", names[0], names[149]);
    say("all of it", fs::remove_dir_all("/work/many"));
    say("list", unit(fs::read_dir("/work/many")));
    say("a file", unit(fs::read_dir("/work/file")));
    let mut here: Vec<_> = fs::read_dir("/work/dir").unwrap().map(|e| e.unwrap().path()).collect();
    here.sort();
    println!("{here:?}");
    let bytes: Vec<_> = fs::read_dir("/work/bytes").map(|all| all.map(unit).map(|e| e.map_err(|e| e.kind())).collect()).unwrap_or_default();
    println!("{bytes:?}");
}

pub fn rename() {
    say("file", fs::rename("/work/file", "/work/moved"));
    say("read", text("/work/moved"));
    say("over another", fs::rename("/work/moved", "/work/empty"));
    say("read", text("/work/empty"));
    say("into another directory", fs::rename("/work/empty", "/other/file"));
    say("read", text("/other/file"));
    say("nothing", fs::rename("/work/nothing", "/work/x"));
    say("directory", fs::rename("/work/dir/nested", "/work/n"));
    say("read", text("/work/n/file"));
    say("over a full directory", fs::rename("/other", "/work/n"));
    say("file over a directory", fs::rename("/other/file", "/work/n"));
    say("directory over a file", fs::rename("/work/n", "/other/file"));
    let mut open = File::open("/work/n/file").unwrap();
    say("while open", fs::rename("/work/n", "/work/dir/back"));
    let mut s = String::new();
    say("read", open.read_to_string(&mut s));
    println!("{s}");
    say("out", fs::rename("/other/file", "/other/../file"));
}

#[allow(deprecated)]
pub fn links() {
    say("link", fs::soft_link("file", "/work/l"));
    say("to the root", fs::soft_link("/secret", "/work/l2"));
    say("read_link", fs::read_link("/work/l"));
    say("of no link", fs::read_link("/work/file"));
    say("through it", text("/work/l"));
    say("hard", fs::hard_link("/work/file", "/work/hard"));
    say("through it", text("/work/hard"));
    say("hard to a directory", fs::hard_link("/work/dir", "/work/hard2"));
    for path in ["l", "dirlink", "dangling", "loop", "up", "updir", "absolute", "inner-file", "hard", "parent/secret"] {
        let kind = |m: fs::Metadata| (m.is_file(), m.is_dir(), m.is_symlink(), if m.is_dir() { 0 } else { m.len() });
        say(path, fs::metadata(format!("/work/{path}")).map(kind));
        say("itself", fs::symlink_metadata(format!("/work/{path}")).map(kind));
        say("open", unit(File::open(format!("/work/{path}"))));
        say("create", unit(OpenOptions::new().write(true).create(true).truncate(false).open(format!("/work/{path}"))));
    }
    say("canonicalize", fs::canonicalize("/work/dir/../link"));
    say("secret", text("/work/../secret"));
    say("secret by a link", text("/work/up"));
    say("remove the link", fs::remove_file("/work/l"));
    say("file is there", text("/work/file"));
}

pub fn metadata() {
    let at = |n| UNIX_EPOCH + Duration::new(1_000_000_000, n);
    let file = OpenOptions::new().write(true).open("/work/file").unwrap();
    say("set", file.set_times(FileTimes::new().set_accessed(at(1)).set_modified(at(2))));
    let m = file.metadata().unwrap();
    println!("{} {} {}", m.len(), m.is_file(), m.permissions().readonly());
    say("modified", m.modified().map(|t| t == at(2)));
    say("accessed", m.accessed().map(|t| t == at(1)));
    say("created", m.created().map(|t| t > UNIX_EPOCH));
    say("set modified", file.set_modified(at(3)));
    say("modified", fs::metadata("/work/file").and_then(|m| m.modified()).map(|t| t == at(3)));
    say("write", (&file).write(b"x"));
    say("later now", fs::metadata("/work/file").and_then(|m| m.modified()).map(|t| t > at(3)));
    say("before 1970", file.set_modified(UNIX_EPOCH - Duration::from_secs(1)));
    let mut p = m.permissions();
    p.set_readonly(true);
    say("read-only", fs::set_permissions("/work/file", p));
    say("write", fs::write("/work/file", "y"));
}

/// Deleted while open: it can be used until it is closed.
pub fn deleted() {
    let mut file = OpenOptions::new().read(true).write(true).open("/work/file").unwrap();
    say("remove", fs::remove_file("/work/file"));
    say("write", file.write(b"abc"));
    say("rewind", file.rewind());
    let mut s = String::new();
    say("read", file.read_to_string(&mut s));
    println!("{s} {}", file.metadata().unwrap().len());
    say("new one", fs::write("/work/file", "new"));
    drop(file);
    say("read", text("/work/file"));
}

checks!(
    open_options, files, seeking, vectored, large, directories, many_names, rename, links, metadata, deleted,
);
