//! A program to look into: it takes a checkpoint of its own, three calls deep, in its fourth step.
//!
//! heat-rust.wasm is made of it, and kept, as few have the compiler for it; nothing of the library is in it:
//!     rustc --target wasm32-wasip1 --edition 2024 -g -C panic=abort --remap-path-prefix $PWD=. --emit=obj heat.rs -o heat.o
//!     wasm-ld heat.o --no-demangle --entry _start --unresolved-symbols=ignore-all --gc-sections -o heat-rust.wasm
#![no_std]
#![no_main]

#[link(wasm_import_module = "dormouse")]
unsafe extern "C" {
    fn checkpoint() -> i32;
}

#[derive(Clone, Copy)]
pub enum Phase {
    Cold,
    Warm,
}

pub struct Cell {
    at: (i32, u8),
    heat: f64,
}

mod model {
    use super::{Cell, Phase, checkpoint};

    #[inline(never)]
    pub fn relax(grid: &[f64], label: &str, phase: Phase) -> f64 {
        let mut sum = 0.0;
        for at in grid {
            sum += *at;
        }
        if label.len() == 5 && sum == 6.0 {
            unsafe { checkpoint() };
        }
        sum + phase as u8 as f64
    }

    #[inline(always)]
    fn middle(cells: &mut Cell, grid: &[f64]) -> f64 {
        cells.heat = relax(grid, "label", Phase::Warm);
        cells.heat
    }

    impl Cell {
        pub fn step(&mut self, grid: &mut [f64; 8], step: usize) -> f64 {
            grid[step] = step as f64;
            middle(self, grid) + self.at.0 as f64
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn _start() {
    let mut cell = Cell { at: (-7, 9), heat: 0.25 };
    let mut grid = [0.0; 8];
    let letter = 'ä';
    let mut total = 0.0f32;
    for step in 0..6 {
        total += cell.step(&mut grid, step) as f32;
    }
    if total == letter as u32 as f32 {
        unsafe { checkpoint() };
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
