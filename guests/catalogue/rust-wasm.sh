. "$GUESTS/toolchains/rust.sh"
driver wasm # and what "$GUESTS/catalogue/rust" has beside it: Cargo.toml, Cargo.lock
