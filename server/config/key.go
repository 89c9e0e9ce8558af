package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// field is one TOML key of a struct: its Go field, or the `_file` twin of a secret one.
type field struct {
	key    string
	index  []int // for reflect.Value.FieldByIndex; embedded structs are flattened
	typ    reflect.Type
	secret bool
	twin   bool   // key is "<secret>_file": index leads to the secret it fills
	goName string // "import/path.Type.Field", which is where its doc comment is found
}

// fieldsOf lists the keys of struct type t in the order of its fields. A field without a toml tag is no setting.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if f.Anonymous && key == "" && f.Type.Kind() == reflect.Struct {
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				out = append(out, inner)
			}
			continue
		}
		if !f.IsExported() || key == "" || key == "-" {
			continue
		}
		one := field{
			key: key, index: []int{i}, typ: f.Type,
			secret: f.Tag.Get("secret") == "true",
			goName: t.PkgPath() + "." + t.Name() + "." + f.Name,
		}
		out = append(out, one)
		if one.secret {
			one.key, one.twin, one.secret = key+"_file", true, false
			out = append(out, one)
		}
	}
	return out
}

func fieldNamed(t reflect.Type, key string) (field, bool) {
	for _, f := range fieldsOf(t) {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// shape tells how a type is written in TOML.
type shape int

const (
	scalar  shape = iota // one value
	list                 // array of scalars
	table                // [section]
	tables               // [[section]]
	byName               // [section.NAME]
	unknown              // a type no setting may have
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func shapeOf(t reflect.Type) shape {
	if t == durationType || reflect.PointerTo(t).Implements(textType) {
		return scalar
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return scalar
	case reflect.Pointer:
		if s := shapeOf(t.Elem()); s == scalar {
			return scalar
		}
	case reflect.Struct:
		return table
	case reflect.Slice:
		switch shapeOf(t.Elem()) {
		case scalar:
			return list
		case table:
			return tables
		}
	case reflect.Map:
		if t.Key().Kind() == reflect.String && shapeOf(t.Elem()) == table {
			return byName
		}
	}
	return unknown
}

// want says in words what a value of type t looks like.
func want(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == durationType:
		return `a duration like "25s"`
	case shapeOf(t) == table:
		return "a table"
	case shapeOf(t) == tables:
		return "an array of tables"
	case shapeOf(t) == byName:
		return "a table of tables"
	case shapeOf(t) == list:
		return "a list of " + strings.TrimPrefix(strings.TrimPrefix(want(t.Elem()), "an "), "a ") + "s"
	case reflect.PointerTo(t).Implements(textType):
		return "a string"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	default:
		return "an integer"
	}
}

// got says in words what the TOML value x is.
func got(x any) string {
	switch x := x.(type) {
	case string:
		return "the string " + strconv.Quote(x)
	case bool:
		return fmt.Sprintf("the boolean %v", x)
	case int64:
		return fmt.Sprintf("the integer %d", x)
	case float64:
		return fmt.Sprintf("the number %v", x)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	default:
		return "a date or time"
	}
}

// setValue stores the TOML value x in v, which is a scalar or a list.
func setValue(v reflect.Value, x any) error {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		p := reflect.New(t.Elem())
		if err := setValue(p.Elem(), x); err != nil {
			return err
		}
		v.Set(p)
		return nil
	}
	mismatch := func() error { return fmt.Errorf("want %s, got %s", want(t), got(x)) }
	if shapeOf(t) == list {
		items, ok := x.([]any)
		if !ok {
			if s, isString := x.(string); isString {
				return fmt.Errorf("want %s, got %s; write [%q]", want(t), got(x), s)
			}
			return mismatch()
		}
		out := reflect.MakeSlice(t, len(items), len(items))
		for i, item := range items {
			if err := setValue(out.Index(i), item); err != nil {
				return fmt.Errorf("item %d: %w", i+1, err)
			}
		}
		v.Set(out)
		return nil
	}
	switch {
	case t == durationType:
		s, ok := x.(string)
		if !ok {
			if n, isInt := x.(int64); isInt {
				return fmt.Errorf("want %s, got %s; write \"%ds\" for seconds", want(t), got(x), n)
			}
			return mismatch()
		}
		return setText(v, s)
	case reflect.PointerTo(t).Implements(textType):
		s, ok := x.(string)
		if !ok {
			return mismatch()
		}
		return setText(v, s)
	}
	switch t.Kind() {
	case reflect.String:
		s, ok := x.(string)
		if !ok {
			return mismatch()
		}
		v.SetString(s)
	case reflect.Bool:
		b, ok := x.(bool)
		if !ok {
			return mismatch()
		}
		v.SetBool(b)
	case reflect.Float64:
		switch n := x.(type) {
		case float64:
			v.SetFloat(n)
		case int64:
			v.SetFloat(float64(n))
		default:
			return mismatch()
		}
	default:
		n, ok := x.(int64)
		if !ok {
			return mismatch()
		}
		return setText(v, strconv.FormatInt(n, 10))
	}
	return nil
}

// setText stores text from an environment variable or a flag in v. Lists are comma-separated.
func setText(v reflect.Value, text string) error {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		p := reflect.New(t.Elem())
		if err := setText(p.Elem(), text); err != nil {
			return err
		}
		v.Set(p)
		return nil
	}
	if shapeOf(t) == list {
		out := reflect.MakeSlice(t, 0, 0)
		for item := range strings.SplitSeq(text, ",") {
			item = strings.TrimSpace(item)
			if item == "" {
				continue
			}
			e := reflect.New(t.Elem()).Elem()
			if err := setText(e, item); err != nil {
				return err
			}
			out = reflect.Append(out, e)
		}
		v.Set(out)
		return nil
	}
	bad := func() error { return fmt.Errorf("want %s, got %q", want(t), text) }
	switch {
	case t == durationType:
		d, err := time.ParseDuration(text)
		if err != nil {
			return bad()
		}
		v.SetInt(int64(d))
		return nil
	case reflect.PointerTo(t).Implements(textType):
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	}
	switch t.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return bad()
		}
		v.SetBool(b)
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return bad()
		}
		v.SetFloat(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, t.Bits())
		if err != nil {
			return bad()
		}
		v.SetUint(n)
	default:
		n, err := strconv.ParseInt(text, 10, t.Bits())
		if err != nil {
			return bad()
		}
		v.SetInt(n)
	}
	return nil
}

// literal writes the scalar or list v as TOML.
func literal(v reflect.Value) string {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		if v.IsNil() {
			return literal(reflect.Zero(t.Elem()))
		}
		return literal(v.Elem())
	}
	if shapeOf(t) == list {
		items := make([]string, v.Len())
		for i := range items {
			items[i] = literal(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	switch {
	case t == durationType:
		return quote(durationText(time.Duration(v.Int())))
	case reflect.PointerTo(t).Implements(textType):
		return quote(fmt.Sprint(v.Interface()))
	}
	switch t.Kind() {
	case reflect.String:
		return quote(v.String())
	case reflect.Float64:
		s := strconv.FormatFloat(v.Float(), 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	default:
		return fmt.Sprint(v.Interface())
	}
}

// quote writes s as a basic TOML string. TOML knows only \b \t \n \f \r \" \\ \uXXXX of Go's escapes.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// durationText is Duration.String without the zero units: "25s", "1m", "1h30m".
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
