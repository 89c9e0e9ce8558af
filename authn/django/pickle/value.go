package pickle

// A value is nil (None), bool, int64, float64, string (str), Bytes, *List, *Dict, Opaque, or Global. Lists and dicts may hold themselves, for
// the pickle says which values are one and the same: walk them to a fixed depth.

// Bytes is bytes or bytearray.
type Bytes string

// List is a list, a tuple, a set or a frozenset.
type List struct{ Items []any }

// Dict is a dict in the order it was filled.
type Dict struct{ items []item }

type item struct{ key, value any }

// Get gives the value of a key that is a str; ok is false if there is none. A key that was set twice has its last value, as in Python.
func (d *Dict) Get(key string) (value any, ok bool) {
	for i := len(d.items) - 1; i >= 0; i-- {
		if k, text := d.items[i].key.(string); text && k == key {
			return d.items[i].value, true
		}
	}
	return nil, false
}

// Len is the number of entries that were set; a key that was set twice counts twice.
func (d *Dict) Len() int { return len(d.items) }

// Global is a class or function that the pickle names and nobody looks up.
type Global struct{ Module, Name string }

// Opaque is an object that only Python could make: what was to be called with which arguments. An integer beyond int64 is one too, as builtins.int.
type Opaque struct {
	Global
	Args []any
}
