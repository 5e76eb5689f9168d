//! Values out of the engine and back into it: what they refer to becomes engine-neutral.
//!
//! ```text
//!   function    <->  its index in the original module   (a table entry's address equals the export's)
//!   exception   <->  an item of the state's list: its tag's index, and its payload
//!   null        <->  null
//! ```
//!
//! An exception's identity cannot be observed, so a new one with the same tag and payload will do.
//! Exceptions hold only older ones, so both directions go through them without cycles: out of the
//! engine depth first (without recursion: chains may be long), each once; back in list order.
//!
//! Both work inside a scope of roots, so that the engine's collector may have the objects again.

use crate::run::{Own, Run};
use crate::{Error, Result};
use dormouse_state::{Exception, MAX_EXCEPTIONS, Value};
use dormouse_transform::{Hierarchy, Inventory, Program, ValType, names};
use std::collections::{HashMap, hash_map::Entry};
use std::hash::{DefaultHasher, Hasher};
use wasmtime::{
    AsContextMut, ExnRef, ExnRefPre, ExnType, Instance, Ref, RootScope, Rooted, Store, Tag, V128,
    Val,
};

type Scope<'r> = RootScope<&'r mut Store<crate::link::Host>>;

/// Reads values out of a stopped program.
pub(crate) struct Reader<'r> {
    pub store: Scope<'r>,
    pub instance: Instance,
    pub own: Own,
    /// Functions whose references the program can hold, and their addresses once they are needed.
    held: &'r [u32],
    functions: &'r mut Option<HashMap<usize, u32>>,
    tags: Vec<Tag>,
    exceptions: Vec<Exception>,
    /// By hash, which nearly always tells them apart.
    known: HashMap<u64, Vec<(Rooted<ExnRef>, u32)>>,
}

/// An exception that is being read.
struct Open {
    exception: Rooted<ExnRef>,
    tag: u32,
    fields: Vec<Val>,
    values: Vec<Value>,
}

impl<'r> Reader<'r> {
    /// `held` and `tags` are from the program's inventory.
    pub fn new(run: &'r mut Run, held: &'r [u32], tags: u32) -> Result<Reader<'r>> {
        let Run { store, instance, own, references, .. } = run;
        let mut store = RootScope::new(store);
        let tags = (0..tags).map(|i| tag(instance, &mut store, i)).collect::<Result<_>>()?;
        Ok(Reader {
            store,
            instance: *instance,
            own: *own,
            held,
            functions: references,
            tags,
            exceptions: vec![],
            known: HashMap::new(),
        })
    }

    /// Every exception that the values read so far refer to.
    pub fn exceptions(self) -> Vec<Exception> {
        self.exceptions
    }

    pub fn value(&mut self, v: Val) -> Result<Value> {
        Ok(match v {
            Val::I32(v) => Value::I32(v as u32),
            Val::I64(v) => Value::I64(v as u64),
            Val::F32(v) => Value::F32(v),
            Val::F64(v) => Value::F64(v),
            Val::V128(v) => Value::V128(v.as_u128()),
            reference => self.reference(reference.ref_())?,
        })
    }

    pub fn reference(&mut self, r: Option<Ref>) -> Result<Value> {
        Ok(match r {
            Some(Ref::Func(None)) => Value::FuncRef(None),
            Some(Ref::Func(Some(f))) => {
                let address = f.to_raw(&mut self.store) as usize;
                let Reader { store, instance, held, functions, .. } = self;
                let known = functions.get_or_insert_with(|| addresses(store, *instance, held));
                let known = known.get(&address).copied();
                let unknown = "a reference to a function that is not the program's";
                Value::FuncRef(Some(known.ok_or_else(|| Error::CannotCapture(unknown.into()))?))
            }
            Some(Ref::Extern(None)) => Value::ExternRefNull,
            Some(Ref::Exn(None)) => Value::ExnRef(None),
            Some(Ref::Exn(Some(e))) => Value::ExnRef(Some(self.exception(e)?)),
            _ => return Err(Error::CannotCapture("a reference to an object of the host".into())),
        })
    }

    /// The place of an exception in the list, after those it holds.
    fn exception(&mut self, e: Rooted<ExnRef>) -> Result<u32> {
        let mut open = vec![];
        let mut found = self.find_or_open(e, &mut open)?;
        while let Some(top) = open.last_mut() {
            if let Some(i) = found.take() {
                top.values.push(Value::ExnRef(Some(i)));
            }
            match top.fields.get(top.values.len()).copied() {
                Some(Val::ExnRef(Some(inner))) => found = self.find_or_open(inner, &mut open)?,
                Some(v) => {
                    let v = self.value(v)?;
                    top.values.push(v);
                }
                None => {
                    let Some(Open { exception, tag, values, .. }) = open.pop() else { break };
                    let index = self.exceptions.len() as u32;
                    self.exceptions.push(Exception { tag, fields: values });
                    let hash = self.hash(&exception)?;
                    self.known.entry(hash).or_default().push((exception, index));
                    found = Some(index);
                }
            }
        }
        found.ok_or_else(|| Error::CannotCapture("an exception could not be read".into()))
    }

    /// The place of an exception that was read already; otherwise it is opened to be read.
    fn find_or_open(&mut self, e: Rooted<ExnRef>, open: &mut Vec<Open>) -> Result<Option<u32>> {
        let hash = self.hash(&e)?;
        for (other, index) in self.known.get(&hash).into_iter().flatten() {
            if Rooted::ref_eq(&self.store, &e, other)? {
                return Ok(Some(*index));
            }
        }
        if self.exceptions.len() + open.len() >= MAX_EXCEPTIONS {
            let what = format!("more than {MAX_EXCEPTIONS} exceptions are alive");
            return Err(Error::CannotCapture(what));
        }
        let thrown = e.tag(&mut self.store)?;
        let tag = self.tags.iter().position(|t| Tag::eq(t, &thrown, &self.store));
        let foreign = || Error::CannotCapture("an exception that the program did not throw".into());
        let tag = tag.ok_or_else(foreign)? as u32;
        let fields: Vec<Val> = e.fields(self.store.as_context_mut())?.collect();
        let values = Vec::with_capacity(fields.len());
        open.push(Open { exception: e, tag, fields, values });
        Ok(None)
    }

    fn hash(&self, e: &Rooted<ExnRef>) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        e.ref_hash(&self.store, &mut hasher)?;
        Ok(hasher.finish())
    }
}

/// A table entry's address equals that of the exported function: the way back to its index.
pub(crate) fn addresses(
    mut store: impl AsContextMut,
    instance: Instance,
    held: &[u32],
) -> HashMap<usize, u32> {
    let mut map = HashMap::with_capacity(held.len());
    for &i in held {
        if let Some(f) = instance.get_func(&mut store, &names::function(i)) {
            map.insert(f.to_raw(&mut store) as usize, i);
        }
    }
    map
}

/// Makes a state's values in a fresh instance.
pub(crate) struct Maker<'r> {
    pub store: Scope<'r>,
    pub instance: Instance,
    pub own: Own,
    exceptions: Vec<Rooted<ExnRef>>,
    /// Functions whose references the program can hold, ascending. (More are exported, to be called.)
    held: &'r [u32],
}

impl<'r> Maker<'r> {
    /// Makes the exceptions of a state, in their order, in the instance of `run`.
    pub fn new(
        run: &'r mut Run,
        exceptions: &[Exception],
        inventory: &'r Inventory,
    ) -> Result<Maker<'r>> {
        let Run { store, instance, own, .. } = run;
        let store = RootScope::new(store);
        let made = Vec::with_capacity(exceptions.len());
        let (tags, held) = (inventory.tags, &inventory.references[..]);
        let mut maker = Maker { store, instance: *instance, own: *own, exceptions: made, held };
        let mut kinds: HashMap<u32, (Tag, ExnRefPre)> = HashMap::new();
        for e in exceptions {
            let bad = |what: &str| Error::State(format!("an exception {what}"));
            let fields = e.fields.iter().map(|&v| maker.val(v)).collect::<Result<Vec<_>>>()?;
            let (tag, kind) = match kinds.entry(e.tag) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(_) if e.tag >= tags => {
                    return Err(bad("has a tag that does not exist"));
                }
                Entry::Vacant(new) => {
                    let tag = tag(instance, &mut maker.store, e.tag)?;
                    let ty = ExnType::from_tag_type(&tag.ty(&maker.store))?;
                    new.insert((tag, ExnRefPre::new(&mut maker.store, ty)))
                }
            };
            let made = ExnRef::new(&mut maker.store, kind, tag, &fields);
            maker.exceptions.push(made.map_err(|e| bad(&format!("cannot be made: {e:#}")))?);
        }
        Ok(maker)
    }

    pub fn val(&mut self, v: Value) -> Result<Val> {
        Ok(match v {
            Value::I32(v) => Val::I32(v as i32),
            Value::I64(v) => Val::I64(v as i64),
            Value::F32(v) => Val::F32(v),
            Value::F64(v) => Val::F64(v),
            Value::V128(v) => Val::V128(V128::from(v)),
            reference => self.reference(reference)?.into(),
        })
    }

    pub fn reference(&mut self, v: Value) -> Result<Ref> {
        Ok(match v {
            Value::FuncRef(Some(i)) => {
                let held = self.held.binary_search(&i).ok();
                let f =
                    held.and_then(|_| self.instance.get_func(&mut self.store, &names::function(i)));
                Ref::Func(Some(f.ok_or_else(|| {
                    Error::State(format!(
                        "a reference to function {i}, which the module never makes"
                    ))
                })?))
            }
            Value::FuncRef(None) => Ref::Func(None),
            Value::ExternRefNull => Ref::Extern(None),
            Value::ExnRef(None) => Ref::Exn(None),
            Value::ExnRef(Some(i)) => {
                let known = self.exceptions.get(i as usize).copied();
                let missing = || Error::State(format!("a reference to exception {i} of too few"));
                Ref::Exn(Some(known.ok_or_else(missing)?))
            }
            _ => return Err(Error::State("a number where a reference belongs".into())),
        })
    }
}

fn tag(instance: &Instance, store: impl AsContextMut, index: u32) -> Result<Tag> {
    let found = instance.get_tag(store, &names::tag(index));
    found.ok_or_else(|| Error::Engine(format!("no tag {index}")))
}

/// Whether a value of a state may stand where the module has this type.
pub(crate) fn fits(program: &Program, v: Value, ty: ValType) -> bool {
    match v {
        Value::I32(_) => ty == ValType::I32,
        Value::I64(_) => ty == ValType::I64,
        Value::F32(_) => ty == ValType::F32,
        Value::F64(_) => ty == ValType::F64,
        Value::V128(_) => ty == ValType::V128,
        Value::FuncRef(f) => program.function_fits(f, ty),
        Value::ExternRefNull | Value::ExnRef(None) if !nullable(ty) => false,
        reference => hierarchy(reference) == Hierarchy::of(ty),
    }
}

fn nullable(ty: ValType) -> bool {
    matches!(ty, ValType::Ref(r) if r.is_nullable())
}

/// Where a reference lies while it is part of a frame; `None` for numbers.
pub(crate) fn hierarchy(v: Value) -> Option<Hierarchy> {
    match v {
        Value::FuncRef(_) => Some(Hierarchy::Func),
        Value::ExternRefNull => Some(Hierarchy::Extern),
        Value::ExnRef(_) => Some(Hierarchy::Exn),
        _ => None,
    }
}
