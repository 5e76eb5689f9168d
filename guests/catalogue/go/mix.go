// A mix of the standard library: JSON, regular expressions, sorting, DEFLATE, SHA-256, big numbers, maps, closures, and
// goroutines that talk over channels (Go's own scheduler and garbage collector run inside the module).
package main

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"text/template"
)

type record struct {
	ID    int               `json:"id"`
	Name  string            `json:"name"`
	Score float64           `json:"score"`
	Tags  []string          `json:"tags,omitempty"`
	Extra map[string]string `json:"extra,omitempty"`
}

// A linear congruential generator: the same numbers everywhere.
type lcg uint64

func (r *lcg) next() uint64 {
	*r = *r*6364136223846793005 + 1442695040888963407
	return uint64(*r >> 33)
}

func records(n int) []record {
	r := lcg(42)
	out := make([]record, n)
	for i := range out {
		name := "user" + strconv.FormatUint(r.next()%10000, 36)
		out[i] = record{ID: i, Name: name, Score: float64(r.next()%100000) / 7}
		for j := uint64(0); j < r.next()%4; j++ {
			out[i].Tags = append(out[i].Tags, "t"+strconv.Itoa(int(r.next()%50)))
		}
		if r.next()%3 == 0 {
			out[i].Extra = map[string]string{"k" + strconv.Itoa(i%7): name, "z": "1"}
		}
	}
	return out
}

func primes(limit int) []int {
	// Hoare's sieve of goroutines: one a prime, chained by channels.
	ch := make(chan int)
	go func(out chan int) {
		for i := 2; i < limit; i++ {
			out <- i
		}
		close(out)
	}(ch)
	var out []int
	for {
		p, ok := <-ch
		if !ok {
			return out
		}
		out = append(out, p)
		next := make(chan int)
		go func(in chan int) {
			for v := range in {
				if v%p != 0 {
					next <- v
				}
			}
			close(next)
		}(ch)
		ch = next
	}
}

func recovered(i int) (msg string) {
	defer func() {
		if e := recover(); e != nil {
			msg = fmt.Sprint("recovered: ", e)
		}
	}()
	a := []int{1, 2, 3}
	return strconv.Itoa(a[i])
}

func main() {
	n := 400
	if len(os.Args) > 1 {
		n, _ = strconv.Atoi(os.Args[1])
	}
	recs := records(n)
	text, err := json.Marshal(recs)
	if err != nil {
		panic(err)
	}
	var back []record
	if err := json.Unmarshal(text, &back); err != nil {
		panic(err)
	}
	sort.Slice(back, func(i, j int) bool {
		if back[i].Score != back[j].Score {
			return back[i].Score > back[j].Score
		}
		return back[i].ID < back[j].ID
	})
	fmt.Println("json", len(text), back[0].Name, back[len(back)-1].Name)

	re := regexp.MustCompile(`"name":"(user[a-z]+)([0-9]+)?".*?"score":([0-9.]+)`)
	matches := re.FindAllSubmatch(text, -1)
	sum := 0.0
	for _, m := range matches {
		v, _ := strconv.ParseFloat(string(m[3]), 64)
		sum += v
	}
	fmt.Printf("regexp %d %.3f\n", len(matches), sum)

	var packed bytes.Buffer
	w, _ := flate.NewWriter(&packed, 9)
	w.Write(text)
	w.Close()
	unpacked, err := io.ReadAll(flate.NewReader(&packed))
	if err != nil || !bytes.Equal(unpacked, text) {
		panic("deflate")
	}
	fmt.Printf("deflate %08x %x\n", crc32.ChecksumIEEE(text), sha256.Sum256(unpacked))

	var wg sync.WaitGroup
	var mu sync.Mutex
	counts := map[string]int{}
	for part := 0; part < 8; part++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := part; i < len(recs); i += 8 {
				for _, t := range recs[i].Tags {
					mu.Lock()
					counts[t]++
					mu.Unlock()
				}
			}
		}()
	}
	wg.Wait()
	keys := make([]string, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	fmt.Println("tags", len(keys), counts[keys[0]], strings.Join(keys[:5], ","))

	p := primes(n)
	fmt.Println("primes", len(p), p[len(p)-1])

	f := big.NewInt(1)
	for i := int64(2); i <= int64(n); i++ {
		f.Mul(f, big.NewInt(i))
	}
	s := f.String()
	fmt.Println("factorial", len(s), s[:20])

	fmt.Println(recovered(2), recovered(5))
	tpl := template.Must(template.New("t").Parse("{{range .}}{{.ID}}={{printf \"%.1f\" .Score}} {{end}}\n"))
	if err := tpl.Execute(os.Stdout, back[:5]); err != nil {
		panic(err)
	}
}
