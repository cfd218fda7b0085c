// Rebuild makes maps the way a rebuild would, make(map[K]V, n) and n inserts, so that what
// gomapscope predicts for a rebuild can be held against what the runtime really allocates.
package main

import (
	"runtime"
	"strconv"
)

type big [200]byte

const count = 17

// The sizes stand on both sides of every threshold of the two sizing rules.
var sizes = [count]int{0, 1, 8, 9, 14, 15, 100, 448, 449, 832, 896, 897, 1000, 1793, 5000, 20000, 100000}

var (
	ints    [count]map[int]int
	strings [count]map[string]string
	sets    [count]map[int64]struct{}
	bigs    [count]map[uint32]big
	bytes   [count]map[byte]byte
)

//go:noinline
func stop() {}

func main() {
	for i, n := range sizes {
		ints[i] = make(map[int]int, n)
		strings[i] = make(map[string]string, n)
		sets[i] = make(map[int64]struct{}, n)
		bigs[i] = make(map[uint32]big, n)
		for k := 0; k < n; k++ {
			ints[i][k] = k
			strings[i][strconv.Itoa(k)] = ""
			sets[i][int64(k)] = struct{}{}
			bigs[i][uint32(k)] = big{}
		}
	}
	stop()
	runtime.KeepAlive(&bytes)
}
