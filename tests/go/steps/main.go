// Steps fills a map and empties it again, and calls stop in between, where a debugger may stop.
//
// There are 6000 entries before the first call of stop, then half of them, a tenth, and none.  So
// nearly all buckets hold an entry at the first two calls, and about half of them at the third.
package main

import (
	"fmt"
	"os"
	"runtime"
)

const entries = 6000

var (
	cache  map[int]int
	counts = map[string]int{}
	calls  int
	kept   *map[string]int
)

// stop is where debuggers break.
//
//go:noinline
func stop(done int) {
	calls++
}

// count assigns to a map of strings, by way of runtime.mapassign_faststr.
//
//go:noinline
func count(words []string) {
	for _, word := range words {
		counts[word]++
	}
}

// purge deletes all but one in n entries.
//
//go:noinline
func purge(n int) {
	for key := range cache {
		if n == 0 || key%n != 0 {
			delete(cache, key)
		}
	}
}

// escaped has a local map variable that lives on the heap.
//
//go:noinline
func escaped() {
	local := map[string]int{"one": 1, "two": 2}
	kept = &local
	stop(-1)
	local["three"] = 3
	runtime.KeepAlive(&local)
}

func main() {
	cache = make(map[int]int, entries)
	for i := 0; i < entries; i++ {
		cache[i] = i
	}
	for done, n := range []int{1, 2, 10, 0} {
		if n != 1 {
			purge(n)
		}
		stop(done)
	}
	count([]string{"a", "b", "a", "c"})
	escaped()
	if len(cache) != 0 || counts["a"] != 2 || (*kept)["three"] != 3 || calls != 5 {
		os.Exit(3)
	}
	fmt.Println("DONE", calls)
}
