// Recorder times what the flight recorder may slow down: it prints nanoseconds per operation, the least of several rounds.
package main

import (
	"fmt"
	"time"
)

var (
	kept map[int]int
	sink int
)

// births makes maps of one entry: each has one event, the first bucket or group.
//
//go:noinline
func births(n int) {
	for i := 0; i < n; i++ {
		kept = make(map[int]int)
		kept[i] = i
	}
}

// lookups reads from a map that is there, and writes to slots that are there.
//
//go:noinline
func lookups(m map[int]int, n int) {
	total := 0
	for i := 0; i < n; i++ {
		key := (i * 7919) & 0xffff
		total += m[key]
		if i&31 == 0 {
			m[key] = i
		}
	}
	sink += total
}

// service looks up a hundred times for each entry that a growing map gets.
//
//go:noinline
func service(n int) {
	m := make(map[int]int)
	total := 0
	for i := 0; i < n; i++ {
		m[i] = i
		for j := 0; j < 100; j++ {
			total += m[(i*31+j*17)%(i+1)]
		}
	}
	sink += total
}

func least(name string, n int, run func(int)) {
	best := time.Duration(1 << 62)
	for round := 0; round < 150; round++ {
		start := time.Now()
		run(n)
		if took := time.Since(start); took < best {
			best = took
		}
	}
	fmt.Printf("%s %.3f\n", name, float64(best.Nanoseconds())/float64(n))
}

func main() {
	m := make(map[int]int)
	for i := 0; i < 1<<16; i++ {
		m[i] = i
	}
	least("births", 20000, births)
	least("lookups", 100000, func(n int) { lookups(m, n) })
	least("service", 3000, service)
}
