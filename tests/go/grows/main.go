// Grows fills two maps and calls stop: how often each grew is told by their length.
package main

import "strconv"

var (
	ints    = map[int]int{}
	strings = map[string]int{}
)

//go:noinline
func stop() {}

func main() {
	for i := 0; i < 3000; i++ {
		ints[i] = i
	}
	for i := 0; i < 200; i++ {
		strings[strconv.Itoa(i)] = i
	}
	stop()
}
