package main

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"time"
	"unsafe"

	"zoo/inner"
	other "zoo/other/inner"
)

type (
	MyInt    int
	MyString string
	MyFunc   func(int) string

	// T is what pointers point to.
	T struct {
		N int
		S string
	}

	// Key has padding after A and a string.
	Key struct {
		A int32
		B string
	}

	// Padded has padding between fields and at its end.
	Padded struct {
		A int8
		B int64
		C int16
		D bool
	}

	// Odd has an embedded, a blank and an unexported field.
	Odd struct {
		MyInt
		_   int16
		low uint8
	}

	Empty struct{}

	// Nest holds every kind of reference.
	Nest struct {
		Any   any
		Err   error
		Slice []MyString
		Map   map[string]MyInt
		Ptr   *Nest
		Func  func()
		Arr   [2]Padded
	}

	Arr128 [128]byte
	Arr129 [129]byte

	// Big160 is too large for a slot.
	Big160 struct {
		A [20]int64
	}

	StringSet map[string]struct{}

	// Counter is a map type with methods.
	Counter map[MyString]uint16

	GMap[K comparable, V any] map[K]V

	GKey[A, B comparable] struct {
		A A
		B B
	}

	Holder struct {
		name string
		byID map[int64]*T
		sub  struct{ tags map[string]StringSet }
	}
)

// Add makes Counter a named type with methods.
func (c Counter) Add(s MyString) { c[s]++ }

// String makes MyInt a fmt.Stringer.
func (i MyInt) String() string { return "MyInt" }

// String makes *T a fmt.Stringer.
func (t *T) String() string { return t.S }

// Maps by kind of key.
var (
	keyString     map[string]int
	keyInt        map[int]int
	keyInt8       map[int8]int8
	keyInt16      map[int16]int16
	keyInt32      map[int32]int32
	keyInt64      map[int64]int64
	keyUint       map[uint]uint
	keyUint8      map[uint8]uint8
	keyUint16     map[uint16]uint16
	keyUint32     map[uint32]uint32
	keyUint64     map[uint64]uint64
	keyUintptr    map[uintptr]uintptr
	keyFloat32    map[float32]float32
	keyFloat64    map[float64]float64
	keyComplex64  map[complex64]complex64
	keyComplex128 map[complex128]complex128
	keyBool       map[bool]bool
	keyRune       map[rune]byte
	keyArray      map[[3]int]string
	keyStrArray   map[[2]string]int
	keyOneString  map[[1]string]int
	keyStruct     map[Key]int
	keyPadded     map[Padded]Padded
	keyOdd        map[Odd]Odd
	keyAnon       map[struct{ X, Y int16 }]string
	keyPointer    map[*T]int
	keyAny        map[any]any
	keyStringer   map[fmt.Stringer]int
	keyChan       map[chan int]int
	keyUnsafe     map[unsafe.Pointer]int
	keyEmpty      map[struct{}]int
	keyNamed      map[MyString]MyInt
	keyDuration   map[time.Duration]time.Month
	keyArr128     map[Arr128]uint8
	keyArr129     map[Arr129]uint8
	keyBig        map[Big160]string
	keyID         map[inner.ID]int
	keyOtherID    map[other.ID]int
	keyTime       map[time.Month]time.Time
)

// Maps by kind of elem.
var (
	elemEmpty     map[int]struct{}
	elemEmptyType map[string]Empty
	elemNothing   map[int][0]int
	elemNeither   map[struct{}]struct{}
	elemNothing2  map[uint16][0]int
	elemString    map[int]string
	elemSlice     map[string][]int
	elemBytes     map[string][]byte
	elemMap       map[string]map[string]int
	elemMapEmpty  map[int]map[int]bool
	elemPointer   map[string]*T
	elemFunc      map[string]func()
	elemMyFunc    map[string]MyFunc
	elemChan      map[string]chan int
	elemRecv      map[string]<-chan struct{}
	elemAny       map[string]any
	elemError     map[string]error
	elemStringer  map[string]fmt.Stringer
	elemArray     map[string][3]int
	elemStruct    map[string]Key
	elemNest      map[int]Nest
	elemArr128    map[int]Arr128
	elemArr129    map[int]Arr129
	elemBig       map[string]Big160
	elemBoth      map[Big160]Big160
	elemBool      map[uint64]bool
	elemByte      map[uint64]uint8
	elemWide      map[uint8]uint64
	elemUnsafe    map[int]unsafe.Pointer
	elemComplex   map[string]complex128
	elemFloat     map[string]float32
	elemUintptr   map[string]uintptr
	elemPtrPtr    map[string]**T
	elemAnon      map[string]struct {
		P *int
		Q []string
	}
)

// Maps that are found in other ways, or whose type has a name worth looking at.
var (
	weird    map[string]string
	unicode  map[string]string
	set      StringSet
	counter  Counter
	values   url.Values
	urls     map[string]*url.URL
	gInts    GMap[int, string]
	gT       GMap[string, T]
	gNested  GMap[GKey[string, MyInt], GMap[int, *T]]
	gKeys    map[GKey[int, string]]bool
	holder   Holder
	ptrHold  = &holder
	ptrToMap *map[string]int
	anyMap   any
	anyPtr   any
	mapArr   [3]map[string]int
	mapSlice []map[string]int
	twins    = map[string]struct{ a, b map[int]int }{}
)

func ids[K ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr](extreme ...K) map[K]K {
	m := make(map[K]K)
	for i := K(0); i < 20; i++ {
		m[i] = i * 5
	}
	for _, k := range extreme {
		m[k] = k
	}
	return m
}

func sink() {}

// populateKeys fills the maps named after their key.
func populateKeys() {
	ts := []*T{{1, "a"}, {2, "b"}, {3, "c"}}
	nan, inf, zero := math.NaN(), math.Inf(1), 0.0

	keyString = map[string]int{"": 0, "a": 1, "hello, world": 2}
	keyInt = ids(math.MinInt, math.MaxInt)
	keyInt8 = ids[int8](math.MinInt8, math.MaxInt8)
	keyInt16 = ids[int16](math.MinInt16, math.MaxInt16)
	keyInt32 = ids[int32](math.MinInt32, math.MaxInt32)
	keyInt64 = ids[int64](math.MinInt64, math.MaxInt64)
	keyUint = ids[uint](math.MaxUint)
	keyUint8 = ids[uint8](math.MaxUint8)
	keyUint16 = ids[uint16](math.MaxUint16)
	keyUint32 = ids[uint32](math.MaxUint32)
	keyUint64 = ids[uint64](math.MaxUint64)
	keyUintptr = ids[uintptr](math.MaxUint)
	keyFloat32 = map[float32]float32{1.5: -1.5, 0.1: 1e-45, float32(inf): math.MaxFloat32, 16777216: 1e21}
	keyFloat64 = map[float64]float64{1: 0.1, -zero: 1e100, inf: -inf, -inf: inf, 1e21: 5e-324, math.Pi: 123456789}
	keyFloat64[nan] = 1
	keyFloat64[nan] = 2
	keyFloat64[math.Copysign(0, -1)] = math.Copysign(0, -1)
	keyFloat64[7] = nan
	keyComplex64 = map[complex64]complex64{1 + 2i: 3, 0: 1i, -1.5 - 0.25i: 0.1}
	keyComplex128 = map[complex128]complex128{1 + 2i: complex(inf, -inf), complex(nan, 0): 0, 1e30: 0.1i}
	keyBool = map[bool]bool{true: false, false: true}
	keyRune = map[rune]byte{'a': 'b', '世': 1, -1: 2, 0x10FFFF: 3}
	keyArray = map[[3]int]string{{}: "zero", {1, 2, 3}: "some", {-1}: "minus"}
	keyStrArray = map[[2]string]int{{"a", "b"}: 1, {}: 2}
	keyOneString = map[[1]string]int{{"a"}: 1, {"b"}: 2}
	keyStruct = fill(20, func(i int) Key { return Key{int32(i), str(i)} }, same)
	keyPadded = fill(12, func(i int) Padded { return Padded{int8(-i), int64(i) << 33, int16(i), i%2 == 0} },
		func(i int) Padded { return Padded{A: int8(i)} })
	keyOdd = map[Odd]Odd{{MyInt: 1, low: 2}: {low: 255}, {}: {MyInt: -1}}
	keyAnon = map[struct{ X, Y int16 }]string{{1, 2}: "a", {-1, -2}: "b"}
	keyPointer = map[*T]int{ts[0]: 0, ts[1]: 1, ts[2]: 2, nil: -1}
	keyAny = map[any]any{
		1: MyInt(1), MyInt(1): 1, "x": MyString("y"), MyString("x"): "y", nil: nil, 1.5: float32(1.5),
		true: uint8(7), Key{1, "k"}: Key{2, "e"}, ts[0]: ts[1], [2]int{1, 2}: [2]string{"p", "q"},
		struct{}{}: struct{}{}, Empty{}: []int(nil), 1i: complex64(2), uintptr(16): unsafe.Pointer(nil),
		time.Second: func() {}, [1]*T{ts[2]}: struct{ P *T }{ts[2]}, 'r': map[string]any{"deep": 1},
		make(chan int): make(chan<- bool), int64(-1): [0]int{}, "nest": Nest{Any: "in"},
		GKey[int, string]{1, "g"}: GMap[int, string]{1: "v"}, "err": errors.New("boom"),
	}
	keyStringer = map[fmt.Stringer]int{MyInt(3): 1, ts[0]: 2, time.Minute: 3, nil: 4}
	keyChan = map[chan int]int{make(chan int): 1, make(chan int, 3): 2, nil: 3}
	keyUnsafe = map[unsafe.Pointer]int{unsafe.Pointer(ts[0]): 1, nil: 2}
	keyEmpty = map[struct{}]int{{}: 42}
	keyNamed = map[MyString]MyInt{"a": 1, "b": -2}
	keyDuration = map[time.Duration]time.Month{time.Second: time.May, -1: 0}
	keyArr128 = fill(11, func(i int) Arr128 { return Arr128{byte(i), 127: byte(255 - i)} }, func(i int) uint8 { return uint8(i) })
	keyArr129 = fill(11, func(i int) Arr129 { return Arr129{byte(i), 128: byte(255 - i)} }, func(i int) uint8 { return uint8(i) })
	keyBig = fill(20, func(i int) Big160 { return Big160{[20]int64{19: int64(i)}} }, str)
	keyID = map[inner.ID]int{1: 1, -5: 2}
	keyOtherID = map[other.ID]int{"one": 1}
	keyTime = map[time.Month]time.Time{time.June: time.Unix(1e9, 5).UTC()}
}

// populateElems fills the maps named after their elem.
func populateElems() {
	t := &T{7, "seven"}
	x := 5

	elemEmpty = fill(30, same, func(int) struct{} { return struct{}{} })
	elemEmptyType = map[string]Empty{"a": {}, "b": {}}
	elemNothing = fill(10, same, func(int) [0]int { return [0]int{} })
	elemNeither = map[struct{}]struct{}{{}: {}}
	elemNothing2 = map[uint16][0]int{1: {}, 2: {}, 65535: {}}
	elemString = fill(50, same, str)
	elemSlice = map[string][]int{"nil": nil, "empty": {}, "three": {1, 2, 3}}
	elemBytes = map[string][]byte{"nil": nil, "abc": []byte("abc\x00\xff")}
	elemMap = map[string]map[string]int{"nil": nil, "empty": {}, "one": {"x": 1}}
	elemMapEmpty = map[int]map[int]bool{1: {}, 2: {3: true}}
	elemPointer = map[string]*T{"nil": nil, "t": t}
	elemFunc = map[string]func(){"nil": nil, "sink": sink, "closure": func() { x++ }}
	elemMyFunc = map[string]MyFunc{"itoa": itoa}
	elemChan = map[string]chan int{"nil": nil, "plain": make(chan int), "buffered": make(chan int, 2)}
	elemRecv = map[string]<-chan struct{}{"r": make(chan struct{})}
	elemAny = map[string]any{"nil": nil, "int": 1, "string": "s", "named": MyInt(3), "ptr": t, "nilptr": (*T)(nil),
		"struct": *t, "map": map[string]int{"m": 1}, "slice": []any{1, nil, "x"}, "func": sink, "array": [1]int{9},
		"error": os.ErrNotExist, "float": 2.5, "bool": false, "rune": 'x', "uintptr": uintptr(255)}
	elemError = map[string]error{"nil": nil, "new": errors.New("oops"), "path": &os.PathError{Op: "open"}}
	elemStringer = map[string]fmt.Stringer{"myint": MyInt(4), "t": t, "duration": time.Hour, "nil": nil}
	elemArray = map[string][3]int{"a": {1, 2, 3}}
	elemStruct = map[string]Key{"a": {1, "x\ty"}}
	elemNest = map[int]Nest{
		0: {},
		1: {Any: MyString("in"), Err: os.ErrClosed, Slice: []MyString{"a", "b"}, Map: map[string]MyInt{"k": 1}, Ptr: &Nest{}, Func: sink},
	}
	elemArr128 = fill(9, same, func(i int) Arr128 { return Arr128{127: byte(i)} })
	elemArr129 = fill(9, same, func(i int) Arr129 { return Arr129{128: byte(i)} })
	elemBig = fill(20, str, func(i int) Big160 { return Big160{[20]int64{int64(i)}} })
	elemBoth = fill(20, func(i int) Big160 { return Big160{[20]int64{int64(i)}} },
		func(i int) Big160 { return Big160{[20]int64{19: int64(-i)}} })
	for i := 0; i < 5; i++ {
		delete(elemBoth, Big160{[20]int64{int64(i)}})
	}
	elemBool = map[uint64]bool{1: true, 1 << 63: false}
	elemByte = map[uint64]uint8{1: 255}
	elemWide = map[uint8]uint64{1: math.MaxUint64}
	elemUnsafe = map[int]unsafe.Pointer{0: nil, 1: unsafe.Pointer(t)}
	elemComplex = map[string]complex128{"a": -1i}
	elemFloat = map[string]float32{"a": 0.1}
	elemUintptr = map[string]uintptr{"a": 0, "b": 4096}
	elemPtrPtr = map[string]**T{"a": &t}
	elemAnon = map[string]struct {
		P *int
		Q []string
	}{"a": {&x, []string{"q"}}}
}

// populateOthers fills the rest.
func populateOthers() {
	long := make([]byte, 300)
	for i := range long {
		long[i] = byte('a' + i%26)
	}
	weird = map[string]string{
		"newline\nin": "tab\tcr\r", "\x1b[31mred\x1b[0m": "escape", "\xff\xfe\x80": "bad utf-8", "nul\x00": "\x00",
		`quote"back\slash`: `'single' "double"`, "</script><!--": "&amp; <b>", string(long): "long", "long": string(long),
		"\u202eright-to-left": "\u2028line", "\a\b\f\v": "\x7f", "": "empty key", "%s%n{}$(x)`": "percent", "\xed\xa0\x80": "surrogate",
		"\u0085\u009b31m": "C1 control",
	}
	unicode = map[string]string{"grüße": "世界", "emoji": "🗺️", "e\u0301": "combining", "\ufeff": "bom", "\U0010ffff": "last", "日本": "ﷺ"}
	set = StringSet{"a": {}, "b": {}, "c": {}}
	counter = Counter{}
	for i := 0; i < 40; i++ {
		counter.Add(MyString(str(i % 13)))
	}
	values = url.Values{"q": {"go", "map"}, "empty": nil}
	urls = map[string]*url.URL{"a": {Scheme: "http", Host: "a"}}
	gInts = GMap[int, string]{1: "one", 2: "two"}
	gT = GMap[string, T]{"t": {1, "x"}}
	gNested = GMap[GKey[string, MyInt], GMap[int, *T]]{{"a", 1}: {1: nil}, {"b", 2}: nil}
	gKeys = map[GKey[int, string]]bool{{1, "one"}: true}
	holder = Holder{name: "holder", byID: fill(100, func(i int) int64 { return int64(i) * 1e9 }, func(i int) *T { return &T{N: i} })}
	holder.sub.tags = map[string]StringSet{"x": {"y": {}}}
	pointed := fill(12, str, same)
	ptrToMap = &pointed
	anyMap = fill(10, same, str)
	inAny := Counter{"a": 1}
	anyPtr = &inAny
	mapArr = [3]map[string]int{nil, {"arr": 1}, {}}
	mapSlice = []map[string]int{{"zero": 0}, {"one": 1, "uno": 1}}
	twins["ab"] = struct{ a, b map[int]int }{map[int]int{1: 2}, nil}
}

func populate() {
	populateKeys()
	populateElems()
	populateOthers()
	populateStates(os.Getenv("ZOO_BIG") != "")

	show("main.keyString", &keyString, "")
	show("main.keyInt", &keyInt, "")
	show("main.keyInt8", &keyInt8, "")
	show("main.keyInt16", &keyInt16, "")
	show("main.keyInt32", &keyInt32, "")
	show("main.keyInt64", &keyInt64, "")
	show("main.keyUint", &keyUint, "")
	show("main.keyUint8", &keyUint8, "")
	show("main.keyUint16", &keyUint16, "")
	show("main.keyUint32", &keyUint32, "")
	show("main.keyUint64", &keyUint64, "")
	show("main.keyUintptr", &keyUintptr, "")
	show("main.keyFloat32", &keyFloat32, "")
	show("main.keyFloat64", &keyFloat64, "")
	show("main.keyComplex64", &keyComplex64, "")
	show("main.keyComplex128", &keyComplex128, "")
	show("main.keyBool", &keyBool, "")
	show("main.keyRune", &keyRune, "")
	show("main.keyArray", &keyArray, "")
	show("main.keyStrArray", &keyStrArray, "")
	show("main.keyOneString", &keyOneString, "")
	show("main.keyStruct", &keyStruct, "")
	show("main.keyPadded", &keyPadded, "")
	show("main.keyOdd", &keyOdd, "")
	show("main.keyAnon", &keyAnon, "")
	show("main.keyPointer", &keyPointer, "")
	show("main.keyAny", &keyAny, "")
	show("main.keyStringer", &keyStringer, "")
	show("main.keyChan", &keyChan, "")
	show("main.keyUnsafe", &keyUnsafe, "")
	show("main.keyEmpty", &keyEmpty, "")
	show("main.keyNamed", &keyNamed, "")
	show("main.keyDuration", &keyDuration, "")
	show("main.keyArr128", &keyArr128, "")
	show("main.keyArr129", &keyArr129, "")
	show("main.keyBig", &keyBig, "")
	show("main.keyID", &keyID, "")
	show("main.keyOtherID", &keyOtherID, "")
	show("main.keyTime", &keyTime, "")
	show("main.elemEmpty", &elemEmpty, "")
	show("main.elemEmptyType", &elemEmptyType, "")
	show("main.elemNothing", &elemNothing, "")
	show("main.elemNeither", &elemNeither, "")
	show("main.elemNothing2", &elemNothing2, "")
	show("main.elemString", &elemString, "")
	show("main.elemSlice", &elemSlice, "")
	show("main.elemBytes", &elemBytes, "")
	show("main.elemMap", &elemMap, "")
	show("main.elemMapEmpty", &elemMapEmpty, "")
	show("main.elemPointer", &elemPointer, "")
	show("main.elemFunc", &elemFunc, "")
	show("main.elemMyFunc", &elemMyFunc, "")
	show("main.elemChan", &elemChan, "")
	show("main.elemRecv", &elemRecv, "")
	show("main.elemAny", &elemAny, "")
	show("main.elemError", &elemError, "")
	show("main.elemStringer", &elemStringer, "")
	show("main.elemArray", &elemArray, "")
	show("main.elemStruct", &elemStruct, "")
	show("main.elemNest", &elemNest, "")
	show("main.elemArr128", &elemArr128, "")
	show("main.elemArr129", &elemArr129, "")
	show("main.elemBig", &elemBig, "")
	show("main.elemBoth", &elemBoth, "")
	show("main.elemBool", &elemBool, "")
	show("main.elemByte", &elemByte, "")
	show("main.elemWide", &elemWide, "")
	show("main.elemUnsafe", &elemUnsafe, "")
	show("main.elemComplex", &elemComplex, "")
	show("main.elemFloat", &elemFloat, "")
	show("main.elemUintptr", &elemUintptr, "")
	show("main.elemPtrPtr", &elemPtrPtr, "")
	show("main.elemAnon", &elemAnon, "")
	show("main.weird", &weird, "")
	show("main.unicode", &unicode, "")
	show("main.set", &set, "")
	show("main.counter", &counter, "")
	show("main.values", &values, "")
	show("main.urls", &urls, "")
	show("main.gInts", &gInts, "")
	show("main.gT", &gT, "")
	show("main.gNested", &gNested, "")
	show("main.gKeys", &gKeys, "")
	show("main.twins", &twins, "")
	show("main.holder.byID", &holder.byID, "field of a struct")
	show("main.holder.sub.tags", &holder.sub.tags, "field of a field")
	show("main.ptrHold.byID", &ptrHold.byID, "field through a pointer")
	show("main.ptrToMap", &ptrToMap, "pointer to a map")
	show("*main.ptrToMap", &ptrToMap, "pointer followed")
	show("main.anyMap", &anyMap, "interface holding a map")
	show("main.anyPtr", &anyPtr, "interface holding a pointer to a map")
	show("main.mapArr[0]", &mapArr[0], "nil, element of an array")
	show("main.mapArr[1]", &mapArr[1], "element of an array")
	show("main.mapArr[2]", &mapArr[2], "empty, element of an array")
	show("main.mapSlice.array[1]", &mapSlice[1], "element of a slice, as gdb names it")
	show("'zoo/inner.Registry'", &inner.Registry, "variable of another package")
}
