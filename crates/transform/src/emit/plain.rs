//! What is left of a function after a safepoint, in a module that stands by itself: no safepoints, no frames memory.
//!
//! ```wat
//!   (func (result i32)
//!     global.get $v0  local.set $i      ;; its values, which who called has put into globals
//!     block $exit (result i32)          ;; a loop round the site:
//!       block $again                    ;;   its rest
//!         call $enter                   ;;   the next inner frame goes on
//!         ...  br_if $again  ...
//!         br $exit
//!       end
//!       loop  ...  end                  ;;   and then all of it, as it was
//!     end)
//! ```

use super::{Code, Emitter, Space};
use crate::Result;
use crate::layout::{Kind, Site};
use wasm_encoder::Instruction as I;

impl<S: Space> Emitter<'_, '_, S> {
    /// The whole function, as it was.
    pub fn unchanged(mut self) -> Result<Code> {
        self.plain = true;
        self.rest(0)?;
        let params = self.body.params;
        self.finish(params)
    }

    /// What is left of the function after `site`. Its values are in `globals`, in the order of its layout; `enter` goes on with
    /// the next inner frame.
    pub fn standalone(mut self, site: &Site, globals: &[u32], enter: u32) -> Result<Code> {
        self.resumed = true;
        self.plain = true;
        for (&value, &global) in site.layout.values.iter().zip(globals) {
            self.i(&I::GlobalGet(global));
            let local = self.local_of(value);
            self.i(&I::LocalSet(local));
        }
        if site.kind == Kind::Entry {
            for l in 0..self.body.params {
                self.get(l as u32, self.body.locals[l]);
            }
            let f = self.callee(self.body.func);
            self.i(&I::Call(f));
            self.i(&I::End);
            return self.finish(0);
        }
        self.open_round(site)?;
        match site.kind {
            Kind::Loop => self.rest(site.op)?,
            _ => {
                self.i(&I::Call(enter));
                self.rest(site.op + 1)?;
            }
        }
        self.finish(0)
    }

    /// All of a loop, after the rest of it: its parameters are on the stack.
    pub(super) fn again(&mut self, op: usize) -> Result<()> {
        self.span(op, self.body.ends[&op] + 1)?;
        self.i(&I::End);
        self.level -= 1;
        Ok(())
    }
}
