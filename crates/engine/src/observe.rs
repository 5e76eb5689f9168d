//! What a program left behind, for tests that compare a plain run with a transformed one.

use crate::link::Host;
use crate::values::{self, Out, Passed};
use crate::{Plain, Result, Run};
use dormouse_wasi::Wasi;
use std::collections::{BTreeMap, HashMap};
use wasmtime::{Extern, Instance, Ref, Store, Val};

/// Everything the original module exports, by name: a global's value, a table's entries (functions
/// by an export's name), a memory's pages and bytes.
pub type Observed = BTreeMap<String, Vec<u8>>;

impl Run {
    /// The exports as they are now, whether the program stopped, ended or trapped.
    #[doc(hidden)]
    pub fn observe(&mut self) -> Observed {
        let instance = self.instance;
        observe(&mut self.store, instance)
    }

    /// The value of an exported global.
    #[doc(hidden)]
    pub fn global(&mut self, name: &str) -> Option<Passed> {
        let v = self.instance.get_global(&mut self.store, name)?.get(&mut self.store);
        match values::out(&mut self.store, v).ok()? {
            Out::Passed(v) => Some(v),
            Out::Function(_) => Some(Passed::Opaque { kind: "funcref", null: false }),
        }
    }
}

impl Plain {
    /// [`Plain::run`], and the exports after it; none if it could not be instantiated.
    #[doc(hidden)]
    pub fn run_observed(&self, wasi: Wasi) -> Result<(crate::Event, Option<Observed>)> {
        let (event, store, instance) = self.run_to_end(wasi, crate::run::COMMAND, &[], || ())?;
        let mut store = store;
        Ok((event, instance.map(|i| observe(&mut store, i))))
    }
}

fn observe(store: &mut Store<Host>, instance: Instance) -> Observed {
    let exports: Vec<(String, Extern)> = instance
        .exports(&mut *store)
        .map(|e| (e.name().to_string(), e.into_extern()))
        .filter(|e| !e.0.starts_with(dormouse_transform::names::PREFIX))
        .collect();
    let mut functions: HashMap<usize, String> = HashMap::new();
    for (name, e) in &exports {
        if let Extern::Func(f) = e {
            functions.entry(f.to_raw(&mut *store) as usize).or_insert_with(|| name.clone());
        }
    }
    let reference = |store: &mut Store<Host>, r: Option<Ref>| match r {
        Some(Ref::Func(Some(f))) => {
            let name = functions.get(&(f.to_raw(store) as usize));
            name.cloned().unwrap_or_else(|| "a function".into())
        }
        Some(r) if r.is_null() => "null".into(),
        _ => "something".into(),
    };
    let mut seen = Observed::new();
    for (name, e) in &exports {
        let bytes = match e {
            Extern::Global(g) => match g.get(&mut *store) {
                Val::I32(v) => v.to_le_bytes().to_vec(),
                Val::I64(v) => v.to_le_bytes().to_vec(),
                Val::F32(v) => v.to_le_bytes().to_vec(),
                Val::F64(v) => v.to_le_bytes().to_vec(),
                Val::V128(v) => v.as_u128().to_le_bytes().to_vec(),
                v => {
                    let r = v.ref_();
                    reference(store, r).into_bytes()
                }
            },
            Extern::Table(t) => {
                let n = t.size(&*store);
                let mut text = format!("{n}");
                for i in 0..n {
                    let r = t.get(&mut *store, i);
                    text = text + " " + &reference(store, r);
                }
                text.into_bytes()
            }
            Extern::Memory(m) => m.data(&*store).to_vec(),
            _ => continue,
        };
        seen.insert(name.clone(), bytes);
    }
    seen
}
