// klauspost/compress: zstd and S2, encoders and decoders with goroutines of their own, over generated text.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

func main() {
	n := 20000
	if len(os.Args) > 1 {
		n, _ = strconv.Atoi(os.Args[1])
	}
	var text bytes.Buffer
	x := uint32(1)
	words := []string{"mouse", "sleeps", "in", "the", "winter", "and", "wakes", "elsewhere", "checkpoint", "frame"}
	for i := 0; i < n; i++ {
		x = x*1664525 + 1013904223
		text.WriteString(words[x>>24%uint32(len(words))%10])
		text.WriteByte(" \n"[x>>20&1])
		if x>>28 == 3 {
			text.WriteString(strconv.Itoa(int(x)))
		}
	}
	plain := text.Bytes()
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedBetterCompression} {
		var packed bytes.Buffer
		enc, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(level), zstd.WithWindowSize(1<<17))
		check(err)
		_, err = io.Copy(enc, bytes.NewReader(plain))
		check(err)
		check(enc.Close())
		size := packed.Len()
		dec, err := zstd.NewReader(&packed)
		check(err)
		back, err := io.ReadAll(dec)
		check(err)
		dec.Close()
		fmt.Println("zstd", level, len(plain), size, bytes.Equal(back, plain))
	}
	packed := s2.EncodeBest(nil, plain)
	back, err := s2.Decode(nil, packed)
	check(err)
	fmt.Printf("s2 %d %x\n", len(packed), sha256.Sum256(back))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
