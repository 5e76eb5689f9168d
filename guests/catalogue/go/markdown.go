// goldmark, a CommonMark renderer: reads Markdown from the file named, a thousand times over, and writes HTML.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
)

func main() {
	text, err := os.ReadFile(os.Args[1])
	text = bytes.Repeat(text, 1000)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	md := goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()))
	var html bytes.Buffer
	if err := md.Convert(text, &html); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Stdout.Write(html.Bytes())
}
