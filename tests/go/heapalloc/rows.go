package main

import (
	"strconv"
	"unsafe"
)

type (
	Point struct{ X, Y int32 }
	User  struct {
		Name string
		Age  int
	}
	Big200  [200]byte
	Big160  struct{ A [20]uint64 }
	Pointed struct {
		P *User
		A [17]uint64
	}
	Set map[string]struct{}
)

// Keys and elems that allocate are made before anything is measured.
const most = 20_000

var (
	names [most]string
	users [most]User
	bytes = make([]byte, 8)
	boxes [most]any
)

func prepare() {
	for i := range names {
		names[i] = "key-" + strconv.Itoa(i)
		boxes[i] = names[i]
	}
}

func str(i int) string      { return names[i] }
func num(i int) int         { return i }
func u64(i int) uint64      { return uint64(i) }
func u32(i int) uint32      { return uint32(i) }
func i32(i int) int32       { return int32(i) }
func u16(i int) uint16      { return uint16(i) }
func u8(i int) uint8        { return uint8(i) }
func f64(i int) float64     { return float64(i) }
func yes(int) bool          { return true }
func none(int) struct{}     { return struct{}{} }
func user(i int) *User      { return &users[i] }
func whole(i int) User      { return User{names[i], i} }
func point(i int) Point     { return Point{int32(i), 1} }
func slice(int) []byte      { return bytes }
func boxed(i int) any       { return boxes[i] }
func big(i int) Big200      { return Big200{byte(i), byte(i >> 8)} }
func wide(i int) Big160     { return Big160{[20]uint64{uint64(i)}} }
func ptrWide(i int) Pointed { return Pointed{P: &users[i]} }
func raw(i int) unsafe.Pointer {
	return unsafe.Pointer(&users[i])
}
func arr128(i int) [128]byte { return [128]byte{byte(i), byte(i >> 8)} }

// of makes a map with room for hint entries and n in it.
func of[K comparable, V any](hint, n int, key func(int) K, elem func(int) V) func() any {
	return func() any {
		m := make(map[K]V, hint)
		for i := 0; i < n; i++ {
			m[key(i)] = elem(i)
		}
		return m
	}
}

// without makes such a map and deletes all entries but every keep-th.
func without[K comparable, V any](n, keep int, key func(int) K, elem func(int) V) func() any {
	return func() any {
		m := of(0, n, key, elem)().(map[K]V)
		for i := 0; i < n; i++ {
			if keep == 0 || i%keep != 0 {
				delete(m, key(i))
			}
		}
		return m
	}
}

// clearedOf makes such a map and clears it.
func clearedOf[K comparable, V any](n int, key func(int) K, elem func(int) V) func() any {
	return func() any {
		m := of(0, n, key, elem)().(map[K]V)
		clear(m)
		return m
	}
}

// churned has n entries of most that were there, which makes a classic map use overflow buckets.
func churned[K comparable, V any](n, rounds int, key func(int) K, elem func(int) V) func() any {
	return func() any {
		m := make(map[K]V, n)
		for i := 0; i < rounds; i++ {
			m[key(i)] = elem(i)
			if i >= n {
				delete(m, key(i-n))
			}
		}
		return m
	}
}

var rows = []struct {
	note string
	make func() any
}{
	{"never used", of(0, 0, str, num)},
	{"one entry", of(0, 1, str, num)},
	{"eight entries", of(0, 8, str, num)},
	{"nine entries", of(0, 9, str, num)},
	{"pointer-free, eight", of(0, 8, num, num)},
	{"pointer-free, nine", of(0, 9, num, num)},
	{"pointer-free, 30", of(0, 30, u64, u32)},
	{"set of 5", of(0, 5, str, none)},
	{"100 strings", of(0, 100, str, str)},
	{"100 bytes", of(0, 100, u8, u8)},
	{"200 of 16 bits", of(0, 200, u16, u16)},
	{"300 points", of(0, 300, point, point)},
	{"1000 ints", of(0, 1000, num, num)},
	{"1000 pointers", of(0, 1000, str, user)},
	{"1000 structs", of(0, 1000, i32, whole)},
	{"2000 slices", of(0, 2000, str, slice)},
	{"2000 interfaces", of(0, 2000, boxed, boxed)},
	{"5000 flags", of(0, 5000, str, yes)},
	{"5000 floats", of(0, 5000, f64, f64)},
	{"20000 ints", of(0, 20_000, num, num)},
	{"20000 strings", of(0, 20_000, str, str)},
	{"hint of 100, unused", of(100, 0, str, num)},
	{"hint of 1000, 3 entries", of(1000, 3, u64, u64)},
	{"hint of 1000, full", of(1000, 1000, str, user)},
	{"hint of 10000, full", of(10_000, 10_000, u32, u32)},
	{"hint of 5000, none", of(5000, 0, u16, none)},
	{"large keys", of(0, 50, big, num)},
	{"large elems", of(0, 200, num, wide)},
	{"large elems with pointers", of(0, 60, str, ptrWide)},
	{"large keys and elems", of(0, 120, big, wide)},
	{"just not too large", of(0, 40, arr128, arr128)},
	{"large keys, eight", of(0, 8, wide, u8)},
	{"large keys, half deleted", without(200, 2, big, num)},
	{"large elems, all deleted", without(200, 0, num, wide)},
	{"half deleted", without(4000, 2, str, num)},
	{"all deleted", without(3000, 0, num, str)},
	{"one of 5000 left", without(5000, 5000, num, num)},
	{"cleared", clearedOf(4000, str, str)},
	{"cleared, pointer-free", clearedOf(4000, num, num)},
	{"cleared, large", clearedOf(300, wide, wide)},
	{"eight, cleared", clearedOf(8, str, num)},
	{"churned", churned(180, 20_000, num, num)},
	{"churned with pointers", churned(180, 20_000, str, user)},
	{"churned, 800", churned(800, 20_000, u64, u32)},
	{"in growth", of(0, 215, num, num)},
	{"in growth, with pointers", of(0, 430, str, str)},
	{"in growth, 3400", of(0, 3400, u32, point)},
	{"unsafe pointers", of(0, 70, num, raw)},
	{"a named type", func() any { return Set(of(0, 700, str, none)().(map[string]struct{})) }},
}
