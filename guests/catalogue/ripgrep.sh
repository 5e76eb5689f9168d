. "$GUESTS/toolchains/rust.sh"
published ripgrep rg
