package main

import (
	"bufio"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"net/url"
	"reflect"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"text/template"
	"time"
	"unsafe"
)

type (
	Number int

	Point struct{ X, Y int32 }

	User struct {
		Name string
		Age  int
		Tags []string
	}

	// Set and Scores are map types with names; maps of the same types without names stand beside.
	Set                        map[string]struct{}
	Scores                     map[string]int
	Index                      map[int]*User
	Pairs[K comparable, V any] map[K]V

	Big200 [200]byte
	Wide   struct {
		ID   int64
		Name string
		Data [17]uint64
	}

	Registry struct {
		name   string
		byID   map[int]*User
		byName map[string]*User
		sub    struct {
			tags   map[string]Set
			counts map[string]uint32
		}
	}

	Deep struct {
		next  *Deep
		index map[uint32]string
	}

	Shelf struct {
		Label string
		Books map[string]int32
		seen  map[int16]bool
	}

	Base struct {
		attrs map[string]string
	}
	Middle struct {
		Base
		flags map[string]bool
	}
	Derived struct {
		*Middle
		Base
		extra map[Point]float32
	}

	Node struct {
		next *Node
		m    map[int]uint8
	}
	Tree struct {
		left, right *Tree
		m           map[string]float64
	}

	Cache[K comparable, V any] struct {
		mu    sync.Mutex
		items map[K]V
		stats struct{ hits map[K]int }
	}

	Huge struct {
		pad   [70]uint64
		first map[string]uint64
		more  [30]*int
		last  map[uint64]string
	}

	Hidden struct {
		kind int
		p    unsafe.Pointer
	}

	Failure struct {
		op      string
		details map[string]any
	}

	Buffered struct {
		r     *bufio.Reader
		w     io.Writer
		lines map[int]string
		marks map[int64]struct{}
	}

	Counter struct{ hits map[string]int64 }

	contextKey string
	handler    func(string) map[string]int
	Namer      interface{ Names() int }
)

func (n Number) String() string  { return strconv.Itoa(int(n)) }
func (s Set) Names() int         { return len(s) }
func (s Scores) Names() int      { return len(s) }
func (c Counter) Names() int     { return len(c.hits) }
func (c *Counter) Hit(s string)  { c.hits[s]++ }
func (f *Failure) Error() string { return f.op + " failed" }

// The package variables, of all kinds of keys and elems.
var (
	pkgStringInt     map[string]int
	pkgStringUint    map[string]uint
	pkgStringFloat   map[string]float64
	pkgStringInt32   map[string]int32
	pkgStringPtr     map[string]*User
	pkgStringUser    map[string]User
	pkgStringBytes   map[string][]byte
	pkgStringAny     map[string]any
	pkgStringErr     map[string]error
	pkgStringNamer   map[string]fmt.Stringer
	pkgStringEmpty   map[string]struct{}
	pkgStringBool    map[string]bool
	pkgStringString  map[string]string
	pkgStringTime    map[string]time.Time
	pkgStringChan    map[string]chan int
	pkgIntInt        map[int]int
	pkgIntString     map[int]string
	pkgIntBool       map[int]bool
	pkgInt8          map[int8]int8
	pkgInt16         map[int16]string
	pkgInt32         map[int32]int32
	pkgInt64         map[int64]int64
	pkgUint8         map[uint8]uint64
	pkgUint16        map[uint16]uint16
	pkgUint32        map[uint32]uint32
	pkgUint64        map[uint64]uint64
	pkgUintptr       map[uintptr]string
	pkgFloat32       map[float32]int
	pkgFloat64       map[float64]float64
	pkgComplex       map[complex128]string
	pkgBool          map[bool]string
	pkgPoint         map[Point]User
	pkgArray         map[[4]byte]string
	pkgArrayString   map[[2]string]int
	pkgAnon          map[struct{ A, B string }]int
	pkgPtrKey        map[*User]string
	pkgChanKey       map[chan int]bool
	pkgDuration      map[time.Duration]time.Month
	pkgSet           Set
	pkgScores        Scores
	pkgIndex         Index
	pkgPairs         Pairs[string, Point]
	pkgAnonElem      map[int]struct{ P *int }
	pkgArrayElem     map[string][3]int
	pkgSliceElem     map[Point][]Point
	pkgComplexElem   map[int]complex64
	pkgBig           map[int32]int32
	pkgBigStr        map[string]string
	pkgBigPtr        map[uint32]*User
	pkgBigHinted     map[uint64]Point
	pkgEmptyHinted   map[int64]Point
	pkgNeverUsed     map[string]uint8
	pkgCrowded       map[int]Wide
	pkgNumberMapping map[Number]Number
)

// Where the others are.
var (
	registry       Registry
	registries     = map[string]Registry{}
	deep           Deep
	deepPtr        **Deep
	sliceOfMaps    []map[string]int
	shelves        []Shelf
	shelfPtrs      []*Shelf
	arrayOfMaps    [40]map[int]int
	arrays         [4][5]map[uint8]string
	nested         = map[string]map[int]string{}
	nested3        = map[int]map[string]map[uint16]bool{}
	shelvesByName  = map[string]Shelf{}
	shelvesByID    = map[int]*Shelf{}
	groups         = map[string][]map[string]uint{}
	boxed          []any
	boxedOne       any
	namers         []Namer
	boxedStructs   []any
	pointers       []*map[string]int
	pointersNamed  []*Index
	closures       []func() int
	methods        []func(string)
	namesMethods   []func() int
	mapChannel     = make(chan map[string]int16, 64)
	structChannel  = make(chan Shelf, 64)
	ptrChannel     = make(chan *Counter, 16)
	syncMap        sync.Map
	syncPool       sync.Pool
	atomicValues   [16]atomic.Value
	atomicPointers [8]atomic.Pointer[map[string]float32]
	atomicShelves  [8]atomic.Pointer[Shelf]
	ctx            = context.Background()
	cacheIDs       Cache[int, string]
	cacheUsers     Cache[string, *User]
	caches         []*Cache[Point, []byte]
	generics       []any
	namedSets      []Set
	unnamedSets    []map[string]struct{}
	namedScores    []Scores
	unnamedScores  []map[string]int
	derived        []Derived
	derivedOne     Derived
	list300        *Node
	tree           *Tree
	finalized      []*Number
	reflected      []any
	hidden         []Hidden
	huge           *Huge
	huges          []Huge
	large          []any
	largeKeys      map[Big200]int
	largeElems     map[int]Wide
	largeBoth      map[Wide]Big200
	shelfArray     [64]Shelf
	shelfArrayPtr  *[50]Shelf
	arrayKeys      map[[3]int]map[[2]int8]int
	handlers       = map[string]handler{}
	interfaceKeys  []map[any]int
	stringerKeys   map[fmt.Stringer]map[any]string
	failures       []error
	buffered       []*Buffered
	elements       = list.New()
	ring           []list.Element
	documents      []any
	clones         []map[int64]string
	headers        []textproto.MIMEHeader
	queries        []url.Values
	templates      []*template.Template
	emptied        []map[int]string
	cleared        []map[string]*User
	growing        []map[int]uint64
	growingStr     []map[string]string
	alike          []any

	// roots is what no variable of its own holds.
	roots []any
)

func populate() {
	populatePackage()
	populateStructs()
	populateCollections()
	populateInterfaces()
	populateFuncs()
	populateSync()
	populateTypes()
	populateObjects()
	populateStates()
	populateLibraries()
}

// into makes a map for a package variable.
func into[M ~map[K]V, K comparable, V any](path string, variable *M, n int) {
	*variable = mk[M](n)
	record("package variable", path, variable)
}

func populatePackage() {
	into("main.pkgStringInt", &pkgStringInt, 100)
	into("main.pkgStringUint", &pkgStringUint, 12)
	into("main.pkgStringFloat", &pkgStringFloat, 30)
	into("main.pkgStringInt32", &pkgStringInt32, 9)
	into("main.pkgStringPtr", &pkgStringPtr, 60)
	into("main.pkgStringUser", &pkgStringUser, 25)
	into("main.pkgStringBytes", &pkgStringBytes, 8)
	into("main.pkgStringAny", &pkgStringAny, 31)
	into("main.pkgStringErr", &pkgStringErr, 7)
	into("main.pkgStringNamer", &pkgStringNamer, 15)
	into("main.pkgStringEmpty", &pkgStringEmpty, 40)
	into("main.pkgStringBool", &pkgStringBool, 3)
	into("main.pkgStringString", &pkgStringString, 200)
	into("main.pkgStringTime", &pkgStringTime, 0)
	into("main.pkgStringChan", &pkgStringChan, 5)
	into("main.pkgIntInt", &pkgIntInt, 1000)
	into("main.pkgIntString", &pkgIntString, 400)
	into("main.pkgIntBool", &pkgIntBool, 50)
	into("main.pkgInt8", &pkgInt8, 100)
	into("main.pkgInt16", &pkgInt16, 20)
	into("main.pkgInt32", &pkgInt32, 2000)
	into("main.pkgInt64", &pkgInt64, 14)
	into("main.pkgUint8", &pkgUint8, 256)
	into("main.pkgUint16", &pkgUint16, 17)
	into("main.pkgUint32", &pkgUint32, 8)
	into("main.pkgUint64", &pkgUint64, 64)
	into("main.pkgUintptr", &pkgUintptr, 4)
	into("main.pkgFloat32", &pkgFloat32, 11)
	into("main.pkgFloat64", &pkgFloat64, 90)
	into("main.pkgComplex", &pkgComplex, 6)
	into("main.pkgBool", &pkgBool, 2)
	into("main.pkgPoint", &pkgPoint, 77)
	into("main.pkgArray", &pkgArray, 300)
	into("main.pkgArrayString", &pkgArrayString, 18)
	into("main.pkgAnon", &pkgAnon, 10)
	into("main.pkgPtrKey", &pkgPtrKey, 22)
	into("main.pkgChanKey", &pkgChanKey, 9)
	into("main.pkgDuration", &pkgDuration, 12)
	into("main.pkgSet", &pkgSet, 33)
	into("main.pkgScores", &pkgScores, 120)
	into("main.pkgIndex", &pkgIndex, 45)
	into("main.pkgPairs", &pkgPairs, 16)
	into("main.pkgAnonElem", &pkgAnonElem, 9)
	into("main.pkgArrayElem", &pkgArrayElem, 27)
	into("main.pkgSliceElem", &pkgSliceElem, 13)
	into("main.pkgComplexElem", &pkgComplexElem, 35)
	into("main.pkgBig", &pkgBig, 5000)
	into("main.pkgBigStr", &pkgBigStr, 5000)
	into("main.pkgBigPtr", &pkgBigPtr, 3000)
	pkgBigHinted = make(map[uint64]Point, 4000)
	fill(reflect.ValueOf(pkgBigHinted), 2500)
	record("package variable", "main.pkgBigHinted", &pkgBigHinted)
	pkgEmptyHinted = make(map[int64]Point, 1000)
	record("package variable", "main.pkgEmptyHinted", &pkgEmptyHinted)
	pkgNeverUsed = make(map[string]uint8)
	record("package variable", "main.pkgNeverUsed", &pkgNeverUsed)
	into("main.pkgCrowded", &pkgCrowded, 150)
	into("main.pkgNumberMapping", &pkgNumberMapping, 29)
}

func newShelf(i int) Shelf {
	return Shelf{"shelf" + strconv.Itoa(i), mk[map[string]int32](size(i)), mk[map[int16]bool](size(i + 5))}
}

func populateStructs() {
	registry.name = "registry"
	registry.byID = mk[map[int]*User](90)
	registry.byName = mk[map[string]*User](50)
	registry.sub.tags = mk[map[string]Set](12)
	registry.sub.counts = mk[map[string]uint32](6)
	record("field of a struct", "main.registry", &registry)
	for i := 0; i < 6; i++ {
		r := Registry{byID: mk[map[int]*User](size(i)), byName: mk[map[string]*User](size(i + 1))}
		r.sub.counts = mk[map[string]uint32](size(i + 3))
		registries[strconv.Itoa(i)] = r
	}
	record("field of a struct in a map", "main.registries", &registries)

	at := &deep
	for i := 0; i < 30; i++ {
		at.index = mk[map[uint32]string](size(i))
		at.next = new(Deep)
		at = at.next
	}
	record("behind pointers", "main.deep", &deep)
	first := &Deep{index: mk[map[uint32]string](10), next: &Deep{index: mk[map[uint32]string](3)}}
	deepPtr = &first
	recordUnnamed("behind pointers", &deepPtr)

	for i := 0; i < 12; i++ {
		shared := &Middle{Base{mk[map[string]string](size(i))}, mk[map[string]bool](size(i + 2))}
		derived = append(derived, Derived{shared, Base{mk[map[string]string](size(i + 3))}, mk[map[Point]float32](size(i + 1))})
	}
	record("embedded struct", "main.derived", &derived)
	derivedOne = Derived{&Middle{Base{mk[map[string]string](4)}, mk[map[string]bool](9)}, Base{mk[map[string]string](2)}, mk[map[Point]float32](1)}
	record("embedded struct", "main.derivedOne", &derivedOne)

	for i := 0; i < 300; i++ {
		list300 = &Node{list300, mk[map[int]uint8](size(i))}
	}
	record("linked list", "main.list300", &list300)
	n := 0
	tree = newTree(6, &n)
	record("tree", "main.tree", &tree)

	huge = &Huge{first: mk[map[string]uint64](31), last: mk[map[uint64]string](8)}
	record("struct above 512 bytes", "main.huge", &huge)
	for i := 0; i < 20; i++ {
		huges = append(huges, Huge{first: mk[map[string]uint64](size(i)), last: mk[map[uint64]string](size(i + 7))})
	}
	record("struct above 512 bytes", "main.huges", &huges)
	for i := range shelfArray {
		shelfArray[i] = newShelf(i)
	}
	record("array of structs above 1 KiB", "main.shelfArray", &shelfArray)
	shelfArrayPtr = new([50]Shelf)
	for i := 0; i < 40; i++ {
		shelfArrayPtr[i] = newShelf(i + 3)
	}
	record("array of structs above 1 KiB", "main.shelfArrayPtr", &shelfArrayPtr)
}

func newTree(depth int, n *int) *Tree {
	if depth < 0 {
		return nil
	}
	*n++
	return &Tree{newTree(depth-1, n), newTree(depth-1, n), mk[map[string]float64](size(*n))}
}

func populateCollections() {
	for i := 0; i < 60; i++ {
		sliceOfMaps = append(sliceOfMaps, mk[map[string]int](size(i)))
	}
	record("slice of maps", "main.sliceOfMaps", &sliceOfMaps)
	for i := 0; i < 30; i++ {
		shelves = append(shelves, newShelf(i))
		s := newShelf(i + 1)
		shelfPtrs = append(shelfPtrs, &s)
	}
	record("slice of structs", "main.shelves", &shelves)
	record("slice of pointers", "main.shelfPtrs", &shelfPtrs)
	for i := range arrayOfMaps {
		arrayOfMaps[i] = mk[map[int]int](size(i + 2))
	}
	record("array of maps", "main.arrayOfMaps", &arrayOfMaps)
	for i := range arrays {
		for j := range arrays[i] {
			arrays[i][j] = mk[map[uint8]string](size(i * j))
		}
	}
	record("array of maps", "main.arrays", &arrays)
	for i := 0; i < 80; i++ {
		nested["n"+strconv.Itoa(i)] = mk[map[int]string](size(i))
	}
	record("map of maps", "main.nested", &nested)
	for i := 0; i < 8; i++ {
		nested3[i] = mk[map[string]map[uint16]bool](10)
	}
	record("map of maps", "main.nested3", &nested3)
	for i := 0; i < 40; i++ {
		shelvesByName["s"+strconv.Itoa(i)] = newShelf(i)
	}
	record("map of structs", "main.shelvesByName", &shelvesByName)
	for i := 0; i < 20; i++ {
		s := newShelf(i)
		shelvesByID[i] = &s
	}
	record("map of pointers", "main.shelvesByID", &shelvesByID)
	for i := 0; i < 25; i++ {
		groups["g"+strconv.Itoa(i)] = []map[string]uint{mk[map[string]uint](size(i)), nil, mk[map[string]uint](size(i + 4))}
	}
	record("map of slices of maps", "main.groups", &groups)
	for i := 0; i < 24; i++ {
		m := mk[map[string]int](size(i))
		pointers = append(pointers, &m)
		x := mk[Index](size(i + 1))
		pointersNamed = append(pointersNamed, &x)
	}
	record("pointer to a map", "main.pointers", &pointers)
	record("pointer to a map", "main.pointersNamed", &pointersNamed)
	arrayKeys = mk[map[[3]int]map[[2]int8]int](30)
	record("array keys", "main.arrayKeys", &arrayKeys)
}

func populateInterfaces() {
	for i := 0; i < 72; i++ {
		boxed = append(boxed, assorted(i))
	}
	record("any", "main.boxed", &boxed)
	boxedOne = mk[map[Point]string](19)
	record("any", "main.boxedOne", &boxedOne)
	for i := 0; i < 16; i++ {
		namers = append(namers, mk[Set](size(i)), mk[Scores](size(i+1)), Counter{mk[map[string]int64](size(i + 2))})
	}
	record("interface with methods", "main.namers", &namers)
	for i := 0; i < 20; i++ {
		boxedStructs = append(boxedStructs, newShelf(i), &Counter{mk[map[string]int64](size(i))})
	}
	record("struct in an interface", "main.boxedStructs", &boxedStructs)
	for i := 0; i < 12; i++ {
		interfaceKeys = append(interfaceKeys, mk[map[any]int](size(i)))
	}
	record("interface keys", "main.interfaceKeys", &interfaceKeys)
	stringerKeys = mk[map[fmt.Stringer]map[any]string](14)
	record("interface keys", "main.stringerKeys", &stringerKeys)
	for i := 0; i < 10; i++ {
		failures = append(failures, &Failure{"op", mk[map[string]any](size(i))})
		failures = append(failures, fmt.Errorf("wrapped: %w", &Failure{"op", mk[map[string]any](size(i + 3))}))
		failures = append(failures, errors.Join(errors.New("plain"), &Failure{"op", mk[map[string]any](size(i + 6))}))
	}
	record("error", "main.failures", &failures)
}

func byValue(i int) func() int {
	m := note("closure, captured by value", mk[map[string]int](size(i)))
	x := note("closure, captured by value", mk[map[Point]uint16](size(i+1)))
	return func() int { return len(m) + len(x) }
}

func byReference(i int) func() int {
	m := note("closure, captured by reference", mk[map[int]string](size(i)))
	return func() int {
		if m == nil {
			m = map[int]string{}
		}
		return len(m)
	}
}

func populateFuncs() {
	for i := 0; i < 12; i++ {
		closures = append(closures, byValue(i), byReference(i), byReference(i+4))
		methods = append(methods, (&Counter{note("method value", mk[map[string]int64](size(i)))}).Hit)
		namesMethods = append(namesMethods, note("method value", mk[Set](size(i))).Names)
		namesMethods = append(namesMethods, note("method value", mk[Scores](size(i))).Names)
		m := note("func values in a map", mk[map[string]int](size(i)))
		handlers[strconv.Itoa(i)] = func(s string) map[string]int { m[s]++; return m }
	}
	record("func values in a map", "main.handlers", &handlers)
	for i := 0; i < 12; i++ {
		m := note("time.AfterFunc", mk[map[uint32]uint32](size(i)))
		time.AfterFunc(1000*time.Hour, func() { m[0]++ })
		n := Number(i)
		finalized = append(finalized, &n)
		f := note("finalizer", mk[map[int64]int64](size(i+2)))
		runtime.SetFinalizer(&n, func(*Number) { f[0]++ })
	}
}
