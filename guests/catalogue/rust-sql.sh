. "$GUESTS/toolchains/rust.sh"
driver sql # and what "$GUESTS/catalogue/rust" has beside it: Cargo.toml, Cargo.lock
