//! wat, wasmparser, wasmprinter: a compiler, validator and printer of WebAssembly, as a guest.

fn main() {
    let functions: u32 = std::env::args().nth(1).map_or(200, |n| n.parse().expect("a number"));
    let mut text = String::from(
        "(module (memory 1) (table 10 funcref) (type $t (func (param i32) (result i32)))\n",
    );
    for i in 0..functions {
        text += &format!(
            "(func $f{i} (export \"f{i}\") (type $t) (local $x i64)
               (block $out (loop $again
                 (br_if $out (i32.eqz (local.get 0)))
                 (local.set 0 (i32.sub (local.get 0) (i32.const {k})))
                 (i64.store offset={o} (i32.and (local.get 0) (i32.const 255)) (local.get $x))
                 (br_table $out $again (i32.rem_u (local.get 0) (i32.const 3)))))
               (if (result i32) (i64.eqz (local.get $x))
                 (then (call $f{next} (local.get 0)))
                 (else (call_indirect (type $t) (local.get 0) (i32.const {slot})))))\n",
            k = i % 17 + 1,
            o = i * 8,
            next = (i + 1) % functions,
            slot = i % 10,
        );
    }
    text += ")";
    let binary = wat::parse_str(&text).expect("assembles");
    wasmparser::Validator::new().validate_all(&binary).expect("is valid");
    let printed = wasmprinter::print_bytes(&binary).expect("prints");
    let again = wat::parse_str(&printed).expect("assembles again");
    let sum = binary.iter().fold(0u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(*b)));
    println!(
        "{} -> {} bytes {sum:08x}, printed {} lines",
        text.len(),
        binary.len(),
        printed.lines().count()
    );
    println!("{}", if again == binary { "the same again" } else { "DIFFERENT" });
    match wat::parse_str("(module (func (result i32) i64.const 1))") {
        Ok(wrong) => match wasmparser::validate(&wrong) {
            Ok(_) => println!("ILL-TYPED, yet valid"),
            Err(e) => println!("{e}"),
        },
        Err(e) => println!("{e}"),
    }
}
