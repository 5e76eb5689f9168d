//! Which host this is, as others can tell it from theirs.
//!
//! ```text
//!   name   nodea                                     for people; two hosts may have the same
//!   boot   0c3d2f0e-7a53-4c44-9d2c-d13d3a6ec0b1      of the kernel, since it was started (Linux)
//! ```
//!
//! Where there is a boot id it decides alone: containers of one kernel see the same locks, whatever they are called, and
//! a host that was started again has lost all it held.

use crate::running::Holder;
use std::fs::File;
use std::io::Read;

/// A host, since it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub name: String,
    /// Empty where the system has none.
    pub boot: String,
}

impl Host {
    /// The one that this process runs on.
    pub fn this() -> Host {
        Host { name: name(), boot: line("/proc/sys/kernel/random/boot_id") }
    }

    /// Whether a job's holder runs, or ran, here.
    pub fn has(&self, holder: &Holder) -> bool {
        self.boot == holder.boot
            && (!self.boot.is_empty() || (self.name == holder.host && !self.name.is_empty()))
    }
}

#[cfg(target_os = "linux")]
fn name() -> String {
    line("/proc/sys/kernel/hostname")
}

/// What stands in a file of one short line; nothing if there is none. Every start of a job does this: three system calls.
fn line(path: &str) -> String {
    let mut text = [0; 256];
    let length = File::open(path).and_then(|mut file| file.read(&mut text)).unwrap_or(0);
    String::from_utf8_lossy(&text[..length]).trim().to_owned()
}

#[cfg(not(target_os = "linux"))]
fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, boot: &str) -> Host {
        Host { name: name.to_owned(), boot: boot.to_owned() }
    }

    #[test]
    fn boots_decide_where_there_are_some() {
        let held = |by: &Host| Holder {
            host: by.name.clone(),
            boot: by.boot.clone(),
            ..Holder::default()
        };
        let a = host("a", "1");
        assert!(a.has(&held(&a)));
        assert!(a.has(&held(&host("container", "1"))), "another name, the same kernel");
        assert!(!a.has(&held(&host("a", "2"))), "started again, or another of the same name");
        assert!(!a.has(&held(&host("a", ""))));
        assert!(host("a", "").has(&held(&host("a", ""))));
        assert!(!host("a", "").has(&held(&host("b", ""))));
        assert!(!host("", "").has(&held(&host("", ""))), "nothing is known of either");
    }

    #[test]
    fn this_one_has_a_name() {
        let here = Host::this();
        assert!(!here.name.is_empty());
        assert!(here.has(&Holder {
            host: here.name.clone(),
            boot: here.boot.clone(),
            ..Holder::default()
        }));
    }
}
