//! What instructions do with their operands, of those that depend on nothing round them.

use wasmparser::{
    BlockType, ContType, FrameKind, FuncType, ModuleArity, Operator, RefType, SubType,
};

/// Whether an instruction has no effect but to replace its operands by its results.
pub(super) fn only_looks(op: &Operator<'_>, pops: u32, pushes: u32) -> bool {
    use Operator as O;
    match op {
        O::Nop | O::Drop => true,
        O::MemoryGrow { .. } | O::TableGrow { .. } => false,
        // What takes more than an address and gives something may have changed what lay there.
        op => pushes > 0 && (pops == 1 || accessed(op).is_none()),
    }
}

/// The memory that an instruction touches at an address that is its first operand.
pub(super) fn accessed(op: &Operator<'_>) -> Option<u32> {
    macro_rules! find {
        ($(@$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
            match op {
                $(Operator::$op { $($($arg: _,)*)? .. } => find!(@in $op $($($arg)*)?),)*
                _ => None,
            }
        };
        (@in $op:ident memarg $($rest:ident)*) => {
            match op {
                Operator::$op { memarg, .. } => Some(memarg.memory),
                _ => None,
            }
        };
        (@in $op:ident $($rest:ident)*) => { None };
    }
    wasmparser::for_each_operator!(find)
}

/// For the operands of instructions that depend on nothing round them; of others nothing is known.
pub(super) struct Straight;

impl ModuleArity for Straight {
    fn sub_type_at(&self, _: u32) -> Option<&SubType> {
        None
    }
    fn tag_type_arity(&self, _: u32) -> Option<(u32, u32)> {
        None
    }
    fn type_index_of_function(&self, _: u32) -> Option<u32> {
        None
    }
    fn func_type_of_cont_type(&self, _: &ContType) -> Option<&FuncType> {
        None
    }
    fn sub_type_of_ref_type(&self, _: &RefType) -> Option<&SubType> {
        None
    }
    fn control_stack_height(&self) -> u32 {
        0
    }
    fn label_block(&self, _: u32) -> Option<(BlockType, FrameKind)> {
        None
    }
}
