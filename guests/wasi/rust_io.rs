//! std::io: the standard streams.
//@stdin first line\nsecond, ü\n\nlast without an end

use std::io::{self, BufRead, IsTerminal, Read, Write};

include!("check.rs");

pub fn lines() {
    for (i, line) in io::stdin().lines().enumerate() {
        say(i, line);
    }
    say("at the end", io::stdin().read_line(&mut String::new()));
    say("again", io::stdin().read(&mut [0; 10]));
}

pub fn bytes() {
    let mut stdin = io::stdin().lock();
    let mut buf = vec![];
    say("until", stdin.read_until(b',', &mut buf));
    println!("{:?}", String::from_utf8(buf));
    let mut three = [0; 3];
    say("exactly", stdin.read_exact(&mut three).map(|()| three));
    let mut rest = String::new();
    say("all", stdin.read_to_string(&mut rest));
    println!("{rest:?}");
    say("exactly", stdin.read_exact(&mut three));
}

pub fn output() {
    println!("line");
    print!("no end");
    say("flush", io::stdout().flush());
    eprintln!("to standard error");
    let mut out = io::stdout().lock();
    for i in 0..60 {
        writeln!(out, "{i} {}", "x".repeat(i % 60)).unwrap();
    }
    let all = vec![b'y'; 300_000];
    out.write_all(&all).unwrap();
    eprint!("the end");
}

pub fn terminals() {
    println!("{} {} {}", io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal());
    println!("{}", std::fs::File::open("/work/file").unwrap().is_terminal());
}

checks!(lines, bytes, output, terminals);
