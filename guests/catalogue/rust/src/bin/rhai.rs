//! Rhai, a scripting language: closures, maps, exceptions, string building, a deep recursion.

const SCRIPT: &str = r#"
fn fib(n) { if n < 2 { n } else { fib(n - 1) + fib(n - 2) } }
fn depth(n) { if n == 0 { 0 } else { 1 + depth(n - 1) } }
print(`fib ${fib(ROUNDS)}`);
print(`depth ${depth(40)}`);
let marks = []; marks.pad(2001, true);
let primes = 0;
for p in 2..=2000 {
    if !marks[p] { continue; }
    primes += 1;
    let q = p * p;
    while q <= 2000 { marks[q] = false; q += p; }
}
print(`primes ${primes}`);
let counter = 0;
let add = |x| { counter += x; counter };
for i in 0..100 { add.call(i); }
print(`counter ${counter}`);
let m = #{ name: "dormouse", weights: [21.5, 17.25] };
m.sum = m.weights.reduce(|s, v| s + v, 0.0);
print(m.to_json());
try { throw #{ code: 7, what: "boom" }; } catch (e) { print(`caught ${e.code} ${e.what}`); }
try { let x = [1, 2]; x[5] } catch (e) { print(`caught ${e.message}`); }
let words = "the quick brown fox jumps over the lazy dog the end".split(" ");
words.sort(|a, b| if a < b { -1 } else if a > b { 1 } else { 0 });
print(words.map(|w| w.to_upper()).filter(|w| w.len > 3));
switch primes { 303 => print("right"), _ => print("wrong") }
"#;

fn main() {
    let rounds: i64 = std::env::args().nth(1).map_or(16, |n| n.parse().expect("a number"));
    let mut engine = rhai::Engine::new();
    engine.set_max_expr_depths(0, 0);
    engine.on_print(|text| println!("{text}"));
    let mut scope = rhai::Scope::new();
    scope.push_constant("ROUNDS", rounds);
    if let Err(e) = engine.run_with_scope(&mut scope, SCRIPT) {
        println!("{e}");
        std::process::exit(1);
    }
}
