package main

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"unsafe"
)

// sizes are numbers of entries; most maps of most programs are small.
var sizes = []int{0, 1, 2, 3, 5, 7, 8, 9, 12, 14, 15, 20, 28, 33, 57, 70, 113, 140}

func size(i int) int { return sizes[i%len(sizes)] }

// mk returns a new map of n entries.
func mk[M ~map[K]V, K comparable, V any](n int) M {
	m := make(M)
	fill(reflect.ValueOf(m), n)
	return m
}

// fill inserts entries made from 0, 1, ...; keys that come again leave fewer than n.
func fill(m reflect.Value, n int) {
	for i := 0; i < n; i++ {
		m.SetMapIndex(value(m.Type().Key(), i, 2), value(m.Type().Elem(), i, 2))
	}
}

// value returns the i-th value of a type, with pointers up to some depth.
func value(t reflect.Type, i, depth int) reflect.Value {
	v := reflect.New(t).Elem()
	set(v, i, depth)
	return v
}

func set(v reflect.Value, i, depth int) {
	t := v.Type()
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(i%2 == 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(i))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(uint64(i))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(i) + 0.5)
	case reflect.Complex64, reflect.Complex128:
		v.SetComplex(complex(float64(i), 1))
	case reflect.String:
		v.SetString("key-" + strconv.Itoa(i))
	case reflect.Array:
		for j := 0; j < v.Len() && j < 4; j++ {
			set(v.Index(j), i>>(8*j), depth)
		}
	case reflect.Struct:
		for j := 0; j < v.NumField(); j++ {
			// Unexported fields, too.
			f := v.Field(j)
			set(reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem(), i, depth)
		}
	case reflect.Pointer:
		if depth > 0 {
			v.Set(reflect.New(t.Elem()))
			set(v.Elem(), i, depth-1)
		}
	case reflect.Slice:
		if depth > 0 {
			v.Set(reflect.MakeSlice(t, 2, 2))
			set(v.Index(0), i, depth-1)
			set(v.Index(1), i+1, depth-1)
		}
	case reflect.Map:
		if depth > 0 && i%5 != 4 {
			v.Set(reflect.MakeMap(t))
			fill(v, i%4)
		}
	case reflect.Chan:
		v.Set(reflect.MakeChan(t, 1))
	case reflect.Interface:
		switch {
		case t == reflect.TypeOf((*error)(nil)).Elem():
			v.Set(reflect.ValueOf(errors.New("e" + strconv.Itoa(i))))
		case t == reflect.TypeOf((*fmt.Stringer)(nil)).Elem():
			v.Set(reflect.ValueOf(Number(i)))
		case i%3 == 0:
			v.Set(reflect.ValueOf(i))
		case i%3 == 1:
			v.Set(reflect.ValueOf("s" + strconv.Itoa(i)))
		default:
			v.Set(reflect.ValueOf(float64(i)))
		}
	}
}

// kinds are map types for places that take any.
var kinds = []reflect.Type{
	reflect.TypeOf(map[string]int(nil)),
	reflect.TypeOf(map[int]string(nil)),
	reflect.TypeOf(map[uint64]uint32(nil)),
	reflect.TypeOf(map[string]string(nil)),
	reflect.TypeOf(map[string]bool(nil)),
	reflect.TypeOf(map[int32]float64(nil)),
	reflect.TypeOf(map[Point]string(nil)),
	reflect.TypeOf(map[string]*User(nil)),
	reflect.TypeOf(map[int]*User(nil)),
	reflect.TypeOf(map[string][]byte(nil)),
	reflect.TypeOf(map[string]any(nil)),
	reflect.TypeOf(map[string]struct{}(nil)),
	reflect.TypeOf(Set(nil)),
	reflect.TypeOf(Scores(nil)),
	reflect.TypeOf(map[*User]bool(nil)),
	reflect.TypeOf(map[[4]byte]int(nil)),
	reflect.TypeOf(map[uint16]uint16(nil)),
	reflect.TypeOf(map[string]error(nil)),
	reflect.TypeOf(map[float64]int(nil)),
	reflect.TypeOf(map[int64][]string(nil)),
	reflect.TypeOf(map[string]User(nil)),
	reflect.TypeOf(Pairs[string, int](nil)),
	reflect.TypeOf(map[rune]int(nil)),
	reflect.TypeOf(map[Point]Point(nil)),
}

// assorted returns a map of the i-th kind.
func assorted(i int) any {
	m := reflect.MakeMap(kinds[i%len(kinds)])
	fill(m, size(i+i/len(kinds)))
	return m.Interface()
}
