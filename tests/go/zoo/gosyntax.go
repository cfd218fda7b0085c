package main

import (
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"unsafe"
)

// goSyntax prints the value of type t stored at p. It takes memory, not a reflect.Value, because
// the words of funcs and interfaces can be read only there.
func goSyntax(t reflect.Type, p unsafe.Pointer) string {
	v := at(t, p)
	switch t.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10)
	case reflect.Uintptr:
		return hex(uintptr(v.Uint()))
	case reflect.Float32, reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, t.Bits())
	case reflect.Complex64, reflect.Complex128:
		return strconv.FormatComplex(v.Complex(), 'g', -1, t.Bits())
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Ptr, reflect.Chan, reflect.Func:
		return "(" + t.String() + ")(" + pointer(p) + ")"
	case reflect.UnsafePointer:
		return t.String() + "(" + pointer(p) + ")"
	case reflect.Struct:
		var parts []string
		for i := 0; i < t.NumField(); i++ {
			f := t.Field(i)
			parts = append(parts, f.Name+":"+goSyntax(f.Type, unsafe.Add(p, f.Offset)))
		}
		return t.String() + "{" + strings.Join(parts, ", ") + "}"
	case reflect.Array:
		return t.String() + "{" + items(t.Elem(), p, t.Len()) + "}"
	case reflect.Slice:
		if v.IsNil() {
			return t.String() + "(nil)"
		}
		return t.String() + "{" + items(t.Elem(), v.UnsafePointer(), v.Len()) + "}"
	case reflect.Map:
		return mapSyntax(t, v)
	case reflect.Interface:
		return ifaceSyntax(v, p)
	}
	panic(fmt.Sprintf("zoo: no syntax for %v", t))
}

func hex(x uintptr) string {
	return "0x" + strconv.FormatUint(uint64(x), 16)
}

// pointer prints the word at p.
func pointer(p unsafe.Pointer) string {
	if word := *(*uintptr)(p); word != 0 {
		return hex(word)
	}
	return "nil"
}

func items(t reflect.Type, p unsafe.Pointer, n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = goSyntax(t, unsafe.Add(p, uintptr(i)*t.Size()))
	}
	return strings.Join(parts, ", ")
}

func mapSyntax(t reflect.Type, v reflect.Value) string {
	if v.IsNil() {
		return t.String() + "(nil)"
	}
	var parts []string
	key, elem := reflect.New(t.Key()), reflect.New(t.Elem())
	for it := v.MapRange(); it.Next(); {
		key.Elem().SetIterKey(it)
		elem.Elem().SetIterValue(it)
		k := goSyntax(t.Key(), key.UnsafePointer())
		parts = append(parts, k+":"+goSyntax(t.Elem(), elem.UnsafePointer()))
	}
	sort.Strings(parts)
	return t.String() + "{" + strings.Join(parts, ", ") + "}"
}

// ifaceSyntax prints the dynamic value of the interface v at p; basic kinds show their type, which
// nothing else would tell.
func ifaceSyntax(v reflect.Value, p unsafe.Pointer) string {
	if v.IsNil() {
		return "nil"
	}
	t := v.Elem().Type()
	data := unsafe.Pointer(&(*words)(p).data)
	if !directIface(t) {
		data = *(*unsafe.Pointer)(data)
	}
	s := goSyntax(t, data)
	if k := t.Kind(); k <= reflect.Complex128 || k == reflect.String {
		return t.String() + "(" + s + ")"
	}
	return s
}
