. "$GUESTS/toolchains/rust.sh"
driver rhai # and what "$GUESTS/catalogue/rust" has beside it: Cargo.toml, Cargo.lock
