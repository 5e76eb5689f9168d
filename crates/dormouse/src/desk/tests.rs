//! Orders, attempts and hooks, in all the ways that they can come after one another.

use super::*;
use crate::hooks::runner::Queue;
use dormouse_engine::{Machine, Options, Run};
use dormouse_wasi::{StdioConfig, Wasi, WasiConfig};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// A program that wants a checkpoint waits for the one that is being written, however that ends; then its order and
/// all others are one.
#[test]
fn the_program_waits_for_its_turn() {
    for fails in [false, true] {
        let desk = Desk::new(Arc::new(|_| {}), Books::default());
        drop(desk.order(Why::Asked, false));
        assert!(matches!(desk.collect(false), Task::Nothing), "not in a section");
        let Task::Checkpoint(written) = desk.collect(true) else { panic!("it was ordered") };
        std::thread::scope(|threads| {
            let program = threads.spawn(|| {
                assert!(desk.order_here(Why::Program, false));
                let Task::Checkpoint(orders) = desk.collect(true) else { panic!("its own") };
                orders.iter().map(|order| order.why).collect::<Vec<_>>()
            });
            std::thread::sleep(Duration::from_millis(20));
            assert!(!program.is_finished());
            match fails {
                true => desk.again(written, None),
                false => desk.answer(written, Err("the disk is full".to_owned())),
            }
            let others: &[Why] = if fails { &[Why::Asked] } else { &[] };
            assert_eq!(program.join().unwrap(), [others, &[Why::Program]].concat());
        });
    }
}

/// What happens to a job, step by step, with hooks that are run by hand.
struct World {
    desk: Desk,
    queue: Arc<Queue>,
    rounds: Arc<AtomicBool>,
    answers: Vec<Receiver<Answer>>,
    hook: Option<Moment>,
    taken: Option<Vec<Order>>,
    /// Hooks have come before a checkpoint, and none after it yet; and whether they let it be taken.
    open: Option<bool>,
    /// What was seen of all this.
    seen: BTreeSet<&'static str>,
}

impl World {
    fn new(moments: Vec<Moment>, requester: Requester) -> World {
        let desk = Desk::new(Arc::new(|_| {}), Books::default());
        let queue = Arc::new(Queue::new(moments, std::sync::Weak::new()));
        desk.set_hooks(Runner::by_hand(&queue));
        let rounds = Arc::new(AtomicBool::new(false));
        let begun = rounds.clone();
        desk.set_rounds(move || !begun.swap(true, Ordering::Relaxed));
        desk.attach(requester);
        let (answers, hook, taken, open, seen) = Default::default();
        World { desk, queue, rounds, answers, hook, taken, open, seen }
    }

    /// The next hook begins, if there is one and none runs.
    fn hook_begins(&mut self) {
        if self.hook.is_some() {
            return;
        }
        self.hook = self.queue.next_if_any();
        let paired = self.queue.has(Moment::PreCheckpoint);
        match self.hook {
            Some(Moment::PreCheckpoint) => {
                assert_eq!(self.open, None, "nothing came after the last one");
                self.open = Some(false);
            }
            Some(Moment::PostCheckpoint) if paired => {
                assert!(self.open.take().is_some(), "nothing came before it, or two come after it");
            }
            _ => {}
        }
    }

    fn hook_ends(&mut self, well: bool) {
        let Some(moment) = self.hook.take() else { return };
        if moment == Moment::PreCheckpoint {
            self.open = Some(well);
            self.seen.insert(if well { "given" } else { "refused" });
            self.desk.hooks_done(if well { Ok(()) } else { Err("no".to_owned()) });
        }
        self.queue.rest();
    }

    fn program_stops(&mut self) {
        if let Task::Checkpoint(orders) = self.desk.collect(true) {
            assert!(self.taken.is_none(), "two at a time");
            if self.queue.has(Moment::PreCheckpoint) {
                assert_eq!(self.open, Some(true), "no hook let it be taken");
            }
            self.seen.insert("taken");
            self.taken = Some(orders);
        }
    }

    fn step(&mut self, dice: u32) {
        match dice % 16 {
            0 | 1 => self.answers.push(self.desk.order(Why::Asked, false)),
            2 => self.answers.push(self.desk.order(Why::Term, true)),
            3 => self.desk.order_if_idle(Why::Timer),
            4..8 => self.hook_begins(),
            8 | 9 => self.hook_ends(true),
            10 => self.hook_ends(false),
            11 | 12 => self.program_stops(),
            13 if self.rounds.swap(false, Ordering::Relaxed) => match dice & 16 {
                0 => self.desk.rounds_done(),
                _ => {
                    self.seen.insert("rounds failed");
                    self.desk.rounds_failed("no rounds");
                }
            },
            14 => {
                if let Some(orders) = self.taken.take() {
                    self.desk.answer(orders, Err("full".to_owned()));
                }
            }
            15 => {
                if let Some(orders) = self.taken.take() {
                    self.seen.insert("again");
                    self.desk.again(orders, None);
                }
            }
            _ => {}
        }
        let inner = self.desk.lock();
        let pending = matches!(inner.attempt, Attempt::Asked | Attempt::Given(_));
        assert!(!pending || !inner.wanted.is_empty(), "an attempt that nobody wants");
    }

    fn end(mut self) -> BTreeSet<&'static str> {
        self.desk.close("the program ended first");
        if self.open.is_some() {
            self.seen.insert("ended in between");
        }
        if let Some(orders) = self.taken.take() {
            self.desk.answer(orders, Err("full".to_owned()));
        }
        for _ in 0..4 {
            self.hook_ends(true);
            self.hook_begins();
        }
        assert_eq!((self.hook, self.open), (None, None), "hooks come after each that came before");
        for answer in &self.answers {
            assert!(matches!(answer.try_recv(), Ok(Err(_))), "everybody is answered");
            answer.try_recv().unwrap_err();
        }
        self.seen
    }
}

#[test]
fn whatever_happens_each_before_has_one_after() {
    let machine = Machine::new(Options::default()).unwrap();
    let module =
        wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    let code = Arc::new(machine.load(module.unwrap().into()).unwrap());
    let config = WasiConfig { stdio: StdioConfig::null(), ..WasiConfig::default() };
    let run = Run::start(code, Wasi::new(config).unwrap()).unwrap();
    let (pre, post) = (Moment::PreCheckpoint, Moment::PostCheckpoint);
    let mut seen = BTreeSet::new();
    let mut state = 1u64;
    for round in 0..4000 {
        let moments = [vec![pre, post], vec![pre, post], vec![post], vec![]];
        let mut world = World::new(moments[round % 4].clone(), run.requester());
        for _ in 0..80 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            world.step((state >> 33) as u32);
        }
        seen.append(&mut world.end());
    }
    let all = ["again", "ended in between", "given", "refused", "rounds failed", "taken"];
    assert_eq!(seen, BTreeSet::from(all), "all of it happened");
}
