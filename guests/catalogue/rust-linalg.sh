. "$GUESTS/toolchains/rust.sh"
driver linalg # and what "$GUESTS/catalogue/rust" has beside it: Cargo.toml, Cargo.lock
