// What the conformance programs in Rust share. They use the standard library as any program does; the calls themselves are
// checked by the programs in C. A check is a `pub fn`, and `checks!` names them all:
//
//   pub fn missing() { say("open", File::open("/work/nothing")); }
//   checks!(missing);

macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        fn main() -> std::process::ExitCode {
            match std::env::args().nth(1).as_deref() {
                $(Some(stringify!($name)) => std::process::Termination::report($name()),)*
                name => {
                    println!("no check {name:?}");
                    std::process::ExitCode::from(97)
                }
            }
        }
    };
}

/// `what: ` and the value, or the kind and the number of the error.
#[allow(dead_code)]
fn say<T: std::fmt::Debug>(what: impl std::fmt::Display, result: std::io::Result<T>) -> Option<T> {
    match result {
        Ok(value) => {
            println!("{what}: {value:?}");
            Some(value)
        }
        Err(e) => {
            println!("{what}: {:?} {:?} {e}", e.kind(), e.raw_os_error());
            None
        }
    }
}
