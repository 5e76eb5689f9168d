. "$GUESTS/toolchains/c.sh"
src=$(orig bookworm mujs "$VERSION" 4886593fc688b0cdccd31e5ecbe5afe7ad1bee23aa69e667b871afd5dfc640c3)
cc $SJLJ -I"$src" "$src"/{one,main}.c
