// bench fills maps of growing sizes and stops at each.
//
//	bench SIZE...
//
// For each size it fills Ints and Strings with so many entries, prints "READY SIZE" and calls
// main.stop. A size of "i:N" leaves Strings empty. Exit status 0.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// What the debugger looks at.
var (
	Ints    map[int64]int64
	Strings map[string]int64
)

//go:noinline
func stop(size int) {
	runtime.KeepAlive(size)
}

func main() {
	for _, argument := range os.Args[1:] {
		digits := strings.TrimPrefix(argument, "i:")
		size, err := strconv.Atoi(digits)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		Ints, Strings = nil, nil
		runtime.GC()
		// Grown entry by entry, as maps are.
		Ints = make(map[int64]int64)
		for i := 0; i < size; i++ {
			Ints[int64(i)] = int64(i)
		}
		Strings = make(map[string]int64)
		if digits == argument {
			for i := 0; i < size; i++ {
				Strings["key-"+strconv.Itoa(i)] = int64(i)
			}
		}
		fmt.Println("READY", size)
		stop(size)
	}
}
