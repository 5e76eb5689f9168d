//! std::env and std::process: arguments, variables, and how a program ends.
//@args one two ü
//@env NAME=value
//@env EMPTY=
//@env WITH=a=b

use std::process::{ExitCode, exit};
use std::{env, fs, process, thread};

include!("check.rs");

pub fn arguments() {
    for arg in env::args().skip(1) {
        println!("{arg:?}");
    }
}

pub fn variables() {
    let mut all: Vec<_> = env::vars().collect();
    all.sort();
    println!("{all:?}");
    println!("{:?} {:?} {:?}", env::var("NAME"), env::var("EMPTY"), env::var("NONE"));
    unsafe {
        env::set_var("NAME", "other");
        env::remove_var("WITH");
    }
    println!("{:?} {:?} {}", env::var("NAME"), env::var("WITH"), env::vars().count());
}

pub fn where_it_is() {
    say("directory", env::current_dir());
    say("change", env::set_current_dir("/work/dir"));
    say("relative", fs::read_to_string("nested/file"));
    say("up", fs::read_to_string("../file"));
    say("program", env::current_exe().map(drop));
    println!("{:?}", env::temp_dir());
    println!("{} {}", env::consts::OS, env::consts::ARCH);
}

pub fn not_there() {
    say("thread", thread::Builder::new().spawn(|| ()).map(drop));
    say("program", process::Command::new("ls").spawn().map(drop));
    say("socket", std::net::TcpStream::connect("127.0.0.1:1").map(drop));
    say("listener", std::net::TcpListener::bind("127.0.0.1:0").map(drop));
    say("threads", thread::available_parallelism());
}

pub fn exit_zero() {
    print!("no line");
    exit(0)
}
pub fn exit_three() {
    exit(3)
}
pub fn exit_125() {
    exit(125)
}
pub fn exit_126() {
    exit(126)
}
pub fn exit_minus_one() {
    exit(-1)
}
pub fn exit_code() -> ExitCode {
    ExitCode::from(42)
}
pub fn main_fails() -> Result<(), String> {
    println!("before");
    Err("it did not work".to_owned())
}
pub fn main_ends() -> Result<(), String> {
    Ok(())
}
pub fn panics() {
    println!("before");
    panic!("no further")
}
pub fn caught() {
    println!("{}", std::panic::catch_unwind(|| panic!("not caught: panics end the program")).is_err());
}
pub fn aborts() {
    process::abort()
}
pub fn index_out_of_bounds() {
    let v: Vec<u32> = env::args().map(|a| a.len() as u32).collect();
    println!("{}", v[env::args().count()]);
}
/// The library says so and aborts.
pub fn out_of_memory() {
    let mut all: Vec<Vec<u8>> = vec![];
    println!("{}", Vec::<u8>::new().try_reserve(3 << 30).is_ok() as u8 * 0);
    println!("{:?}", Vec::<u64>::new().try_reserve(usize::MAX / 8).is_err());
    all.push(vec![1]);
    println!("{}", all.len());
}
pub fn deep_recursion_is_fine_to_a_depth() {
    fn down(n: u32) -> u64 {
        if n == 0 { 0 } else { std::hint::black_box(down(n - 1)) + 1 }
    }
    println!("{}", down(1000));
}

checks!(
    arguments, variables, where_it_is, not_there, exit_zero, exit_three, exit_125, exit_126, exit_minus_one, exit_code, main_fails,
    main_ends, panics, caught, aborts, index_out_of_bounds, out_of_memory, deep_recursion_is_fine_to_a_depth,
);
