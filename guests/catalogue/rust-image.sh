. "$GUESTS/toolchains/rust.sh"
driver image # and what "$GUESTS/catalogue/rust" has beside it: Cargo.toml, Cargo.lock
