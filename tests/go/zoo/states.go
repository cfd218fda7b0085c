package main

import (
	"reflect"
	"unsafe"
)

// Maps whose state, not type, is what matters.
var (
	nilMap       map[string]int
	nilNamed     StringSet
	unused       map[string]int
	unusedHinted map[int64]int64

	one        map[string]int
	seven      map[string]int
	eight      map[string]int
	nine       map[string]int
	strInt     map[string]int
	twoK       map[int]int
	twentyK    map[int]int
	twentyKStr map[string]string
	unevenDir  map[int32]int32
	lopsided   map[uint32]uint32

	holes      map[int]string
	holesStr   map[string]string
	smallHoles map[int]int
	emptied    map[string]int
	cleared    map[string]int
	refilled   map[string]int
	presized   map[uint32]uint32
	survivor   map[int]int
	churned    map[uint64]uint64

	doubling    map[int]int
	doublingStr map[string]string
	doublingBig map[int]Big160
	sameSize    map[int]int
	sameSizeStr map[string]string
	crowded     map[int]int
	crowdedStr  map[string]*T
	ranged      map[string]int
	rangedPtr   = &ranged
	rangedGrow  map[string]string

	big map[int32]int32
)

func str(i int) string { return "key-" + string(rune('a'+i%26)) + itoa(i) }

func itoa(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return itoa(i/10) + string(rune('0'+i%10))
}

func same(i int) int { return i }

// fill inserts n entries made from 0, 1, ... into a new map.
func fill[K comparable, V any](n int, key func(int) K, elem func(int) V) map[K]V {
	m := make(map[K]V)
	for i := 0; i < n; i++ {
		m[key(i)] = elem(i)
	}
	return m
}

// header returns the header of a map.
func header[K comparable, V any](m map[K]V) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&m))
}

// untilDoubling fills a map until a doubling growth has evacuated a third of its old buckets. The
// smallest growths are skipped, as each insert evacuates two buckets.
func untilDoubling[K comparable, V any](key func(int) K, elem func(int) V) map[K]V {
	m := make(map[K]V)
	for i := 0; i < 1000; i++ {
		m[key(i)] = elem(i)
		same, done, old := growing(reflect.TypeOf(m), header(m))
		if !same && old >= 32 && done >= old/3 && done < old {
			return m
		}
	}
	if family == "classic" {
		fail("%T: no doubling growth", m)
	}
	return m
}

// untilSameSize replaces entries of a map that is nearly full, until its overflow buckets make the
// runtime rebuild it in its size and a third of its old buckets are evacuated.
func untilSameSize[K comparable, V any](key func(int) K, elem func(int) V) map[K]V {
	const population = 180 // of 192 (Go 1.21) or 208 that 32 buckets take
	m := make(map[K]V, population)
	limit := 2_000_000
	if family != "classic" {
		limit = 2_000
	}
	for i := 0; i < limit; i++ {
		m[key(i)] = elem(i)
		if i >= population {
			delete(m, key(i-population))
		}
		same, done, old := growing(reflect.TypeOf(m), header(m))
		if same && done >= old/3 && done < old {
			return m
		}
	}
	if family == "classic" {
		fail("%T: no same-size growth", m)
	}
	return m
}

// crowd fills a map with keys that all want the same bucket, which gives long overflow chains in a
// classic map and long probe sequences in a Swiss one.
func crowd[K comparable, V any](n int, key func(int) K, elem func(int) V) map[K]V {
	m := make(map[K]V, 300)
	for i := 0; len(m) < n; i++ {
		k := key(i)
		if home(reflect.TypeOf(m), header(m), unsafe.Pointer(&k)) == 3 {
			m[k] = elem(i)
		}
	}
	return m
}

func populateStates(wantBig bool) {
	unused = make(map[string]int)
	unusedHinted = make(map[int64]int64, 1000)
	one = fill(1, str, same)
	seven = fill(7, str, same)
	eight = fill(8, str, same)
	nine = fill(9, str, same)
	strInt = fill(500, str, same)
	twoK = fill(2000, same, func(i int) int { return -i })
	twentyK = fill(20000, same, func(i int) int { return i * 3 })
	twentyKStr = fill(20000, str, str)
	unevenDir = map[int32]int32{}
	for i := int32(0); i < 4000 || !uneven(header(unevenDir)); i++ {
		unevenDir[i*7] = i
	}
	// Keys whose hashes share their highest bits: one end of the directory splits again and again,
	// and the tables of the other end fill 4, 8 and 16 entries.
	lopsided = map[uint32]uint32{}
	for i := uint32(0); len(lopsided) < 3000; i++ {
		if hashOf(reflect.TypeOf(lopsided), header(lopsided), unsafe.Pointer(&i))>>(8*wordSize-3) == 0 {
			lopsided[i] = ^i
		}
	}

	// Which deletions leave a tombstone depends on the hash seed: delete until one does.
	holes = fill(800, same, str)
	for i := 0; i < 600 || !scarred(reflect.TypeOf(holes), header(holes)); i++ {
		delete(holes, i)
	}
	holesStr = fill(3000, str, str)
	for i := 0; i < 3000; i += 3 {
		delete(holesStr, str(i))
	}
	smallHoles = fill(8, same, same)
	delete(smallHoles, 0)
	delete(smallHoles, 3)
	delete(smallHoles, 7)
	emptied = fill(2000, str, same)
	for i := 0; i < 2000; i++ {
		delete(emptied, str(i))
	}
	cleared = fill(2000, str, same)
	clear(cleared)
	refilled = fill(2000, str, same)
	clear(refilled)
	for i := 0; i < 30; i++ {
		refilled[str(i)] = i
	}
	presized = make(map[uint32]uint32, 10000)
	for i := uint32(1); i <= 3; i++ {
		presized[i] = i * 100
	}
	survivor = fill(5000, same, same)
	for i := 0; i < 5000; i++ {
		if i != 4321 {
			delete(survivor, i)
		}
	}
	churned = map[uint64]uint64{}
	for i := uint64(0); i < 20000; i++ {
		churned[i] = i
		delete(churned, i-700)
	}

	doubling = untilDoubling(same, same)
	doublingStr = untilDoubling(str, str)
	doublingBig = untilDoubling(same, func(i int) Big160 { return Big160{A: [20]int64{int64(i)}} })
	sameSize = untilSameSize(same, same)
	sameSizeStr = untilSameSize(str, str)
	crowded = crowd(200, same, same)
	crowdedStr = crowd(100, str, func(i int) *T { return &T{N: i} })
	for i, n := 0, 0; n < 60; i++ {
		if _, ok := crowded[i]; ok {
			delete(crowded, i)
			n++
		}
	}
	ranged = fill(40, str, same)
	rangedGrow = untilDoubling(str, str)

	show("main.nilMap", &nilMap, "nil")
	show("main.nilNamed", &nilNamed, "nil, named type")
	show("main.unused", &unused, "made, never used")
	show("main.unusedHinted", &unusedHinted, "make(m, 1000), never used")
	show("main.one", &one, "")
	show("main.seven", &seven, "")
	show("main.eight", &eight, "")
	show("main.nine", &nine, "")
	show("main.strInt", &strInt, "")
	show("main.twoK", &twoK, "")
	show("main.twentyK", &twentyK, "")
	show("main.twentyKStr", &twentyKStr, "")
	showRandom("main.unevenDir", &unevenDir, "tables of unequal depth: a directory with repeated entries")
	showRandom("main.holes", &holes, "deletions")
	show("main.holesStr", &holesStr, "every third entry deleted")
	showRandom("main.lopsided", &lopsided, "a directory where some tables fill many entries")
	show("main.smallHoles", &smallHoles, "deletions in one bucket")
	show("main.emptied", &emptied, "2000 entries deleted")
	show("main.cleared", &cleared, "clear() of 2000 entries")
	show("main.refilled", &refilled, "clear() of 2000 entries, then 30 inserts")
	show("main.presized", &presized, "make(m, 10000), 3 inserts")
	show("main.survivor", &survivor, "all of 5000 deleted but one")
	show("main.churned", &churned, "700 entries, 20000 inserts and deletes")
	showRandom("main.doubling", &doubling, "doubling growth, part evacuated")
	showRandom("main.doublingStr", &doublingStr, "doubling growth, part evacuated, with pointers")
	showRandom("main.doublingBig", &doublingBig, "doubling growth, part evacuated, indirect elems")
	showRandom("main.sameSize", &sameSize, "same-size growth, part evacuated")
	showRandom("main.sameSizeStr", &sameSizeStr, "same-size growth, part evacuated, with pointers")
	showRandom("main.crowded", &crowded, "one bucket wanted by all keys, 60 of 200 deleted")
	showRandom("main.crowdedStr", &crowdedStr, "one bucket wanted by all keys")
	show("main.ranged", &ranged, "the debugger stops inside a range over it")
	showRandom("main.rangedGrow", &rangedGrow, "doubling growth, and a range over it")
	show("*main.rangedPtr", &rangedPtr, "through a pointer")
	if wantBig {
		big = make(map[int32]int32)
		for i := int32(0); i < 1_000_000; i++ {
			big[i] = ^i
		}
		show("main.big", &big, "a million entries")
	}
}
