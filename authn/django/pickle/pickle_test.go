package pickle

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type vector struct {
	Name     string
	Protocol int
	Pickle   string
	Want     any
}

func vectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json") // by testdata/make_vectors.py
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

func (v vector) bytes(t testing.TB) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(v.Pickle)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// same compares a value with JSON: of a dict, only the keys that are wanted.
func same(got, want any) bool {
	switch want := want.(type) {
	case json.Number:
		switch got := got.(type) {
		case int64:
			n, err := want.Int64()
			return err == nil && n == got
		case float64:
			f, err := want.Float64()
			return err == nil && f == got
		}
		return false
	case string:
		switch got := got.(type) {
		case Bytes:
			return want == "b:"+hex.EncodeToString([]byte(got))
		case Opaque:
			if got.Module == "copy_reg" || got.Module == "copyreg" || got.Module == "__builtin__" { // protocols below 2 make objects by way of these
				return strings.HasPrefix(want, "<")
			}
			return want == "<"+got.Module+"."+got.Name+">"
		}
		return got == want
	case []any:
		list, ok := got.(*List)
		if !ok || len(list.Items) != len(want) {
			return false
		}
		for i := range want {
			if !same(list.Items[i], want[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		d, ok := got.(*Dict)
		if !ok {
			return false
		}
		for k, w := range want {
			if v, there := d.Get(k); !there || !same(v, w) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(got, want)
}

func TestDecodeAsPython(t *testing.T) {
	for _, v := range vectors(t) {
		got, rest, err := Decode(append(v.bytes(t), "rest"...))
		if err != nil {
			t.Errorf("%s, protocol %d: %v", v.Name, v.Protocol, err)
			continue
		}
		if !same(got, v.Want) {
			t.Errorf("%s, protocol %d: Decode = %#v, want %v", v.Name, v.Protocol, got, v.Want)
		}
		if string(rest) != "rest" {
			t.Errorf("%s, protocol %d: rest = %q", v.Name, v.Protocol, rest)
		}
	}
}

// Whatever part of a pickle is missing, it is an error and no value.
func TestDecodeOfEveryBeginning(t *testing.T) {
	for _, v := range vectors(t) {
		raw := v.bytes(t)
		for n := range raw[:min(len(raw), 1500)] {
			if got, _, err := Decode(raw[:n]); err == nil && n < len(raw) {
				t.Fatalf("%s, protocol %d: the first %d of %d bytes are %#v", v.Name, v.Protocol, n, len(raw), got)
			}
		}
	}
}

func TestDecodeExecutesNothing(t *testing.T) {
	for _, test := range []struct {
		name, pickle string
		want         any
	}{
		{"os.system by GLOBAL and REDUCE", "cos\nsystem\n(S'touch pwned'\ntR.", Opaque{Global{"os", "system"}, []any{"touch pwned"}}},
		{"os.system by INST", "(S'touch pwned'\nios\nsystem\n.", Opaque{Global{"os", "system"}, []any{"touch pwned"}}},
		{"os.system by OBJ", "(cos\nsystem\nS'touch pwned'\no.", Opaque{Global{"os", "system"}, []any{"touch pwned"}}},
		{"builtins.eval by STACK_GLOBAL", "\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", Opaque{Global{"builtins", "eval"}, []any{"1"}}},
		{"NEWOBJ and BUILD", "\x80\x02ca\nB\n)\x81}b.", Opaque{Global: Global{"a", "B"}}},
		{"NEWOBJ_EX", "\x80\x04ca\nB\n)}\x92.", Opaque{Global: Global{"a", "B"}}},
		{"a class by itself", "ca\nB\n.", Global{"a", "B"}},
		{"what a call gave, called", "ca\nB\n)R)R.", Opaque{Global: Global{"a", "B"}}},
	} {
		got, _, err := Decode([]byte(test.pickle))
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: Decode = %#v, %v, want %#v", test.name, got, err, test.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, test := range []struct {
		name, pickle string
		want         error
	}{
		{"nothing", "", errEnd},
		{"no value", ".", errStack},
		{"two values", "NN.", errStack},
		{"an open mark", "(N.", errStack},
		{"a mark as value", "(.", errStack},
		{"an unknown opcode", "\xff.", errText},
		{"protocol 6", "\x80\x06N.", errText},
		{"a persistent id", "Pid\n.", errOutside},
		{"a binary persistent id", "NQ.", errOutside},
		{"the extension registry", "\x82\x01.", errOutside},
		{"an out-of-band buffer", "\x97.", errOutside},
		{"a dict as a key", "}}Ns.", errHashable},
		{"a text of 4 GB", "X\xff\xff\xff\xff.", errEnd},
		{"a text of 2^63 bytes", "\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", errEnd},
		{"bytes of 2^64 bytes", "\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", errEnd},
		{"an absent memo", "h\x00.", errMemo},
		{"memo of nothing", "q\x00N.", errStack},
		{"append to a number", "K\x01Na.", errType},
		{"entries of a list", "]NNs.", errType},
		{"an odd number of entries", "}(Nu.", errStack},
		{"a call of text", "U\x01a)R.", errType},
		{"arguments that are no tuple", "ca\nB\nNR.", errType},
		{"a state for a dict", "}Nb.", errType},
		{"a class whose name is a number", "K\x01K\x02\x93.", errType},
		{"an opcode that reaches below a mark", "N(0a.", errStack},
		{"an int with an underscore", "I1_0\n.", errText},
		{"a line without an end", "I1", errNoNewline},
		{"a bad escape", "S'\\q'\n.", errText},
		{"half an escape", "V\\u00\n.", errText},
	} {
		if _, _, err := Decode([]byte(test.pickle)); !errors.Is(err, test.want) {
			t.Errorf("%s: Decode = %v, want %v", test.name, err, test.want)
		}
	}
}

func TestDecodeIsBounded(t *testing.T) {
	for _, test := range []struct {
		name, pickle string
		want         error
	}{
		{"marks", strings.Repeat("(", 2000), errDepth},
		{"opcodes", strings.Repeat("}", maxOpcodes+1), errWork},
		{"values without end", "N" + strings.Repeat("2", maxOpcodes), errWork},
		{"size", "X\x00\x00\x20\x00" + strings.Repeat("x", 2<<20) + ".", errSize},
		{"a long line", "V" + strings.Repeat("x", 2<<20) + "\n.", errSize},
	} {
		if _, _, err := Decode([]byte(test.pickle)); !errors.Is(err, test.want) {
			t.Errorf("%s: Decode = %v, want %v", test.name, err, test.want)
		}
	}
	// A thousand million laughs: ten references each, ten deep, are a hundred objects here.
	var laughs strings.Builder
	laughs.WriteString("]q\x00")
	for i := range byte(20) {
		laughs.WriteString("](" + strings.Repeat("h"+string([]byte{i}), 10) + "eq" + string([]byte{i + 1}))
	}
	laughs.WriteString("\x85.")
	if n := testing.AllocsPerRun(10, func() { Decode([]byte(laughs.String())) }); n > 500 {
		t.Errorf("nested references cost %v allocations", n)
	}
}

func TestSpecialFloats(t *testing.T) {
	for pickle, want := range map[string]float64{"Finf\n.": math.Inf(1), "F-inf\n.": math.Inf(-1), "F1e5\n.": 1e5} {
		if got, _, err := Decode([]byte(pickle)); err != nil || got != want {
			t.Errorf("Decode(%q) = %v, %v, want %v", pickle, got, err, want)
		}
	}
	if got, _, err := Decode([]byte("Fnan\n.")); err != nil || !math.IsNaN(got.(float64)) {
		t.Errorf("nan is %v, %v", got, err)
	}
}

func TestGetTakesTheLastOfTwo(t *testing.T) {
	got, _, err := Decode([]byte("}(U\x01aK\x01U\x01aK\x02u."))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := got.(*Dict).Get("a"); !ok || v != int64(2) {
		t.Errorf("Get = %v, %v, want 2", v, ok)
	}
}

// FuzzDecode: no panic, the same answer with anything after the end, and a value that can be walked to a depth.
func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		if raw := v.bytes(f); len(raw) < 1000 {
			f.Add(raw)
		}
	}
	f.Add([]byte("cos\nsystem\n(S'x'\ntR."))
	f.Fuzz(func(t *testing.T, data []byte) {
		value, rest, err := Decode(data)
		if err != nil {
			return
		}
		used := data[:len(data)-len(rest)]
		_, rest2, err := Decode(append(append([]byte(nil), used...), "\x80\x05N."...))
		if err != nil || string(rest2) != "\x80\x05N." {
			t.Fatalf("Decode(%q) = %v, then with more after it rest %q, %v", data, value, rest2, err)
		}
		if n := count(value, 5); n < 1 {
			t.Fatalf("%d values in %#v", n, value)
		}
	})
}

// count walks a value to a depth.
func count(value any, depth int) int {
	n := 1
	if depth == 0 {
		return n
	}
	switch v := value.(type) {
	case *List:
		for _, i := range v.Items[:min(len(v.Items), 100)] {
			n += count(i, depth-1)
		}
	case *Dict:
		for _, i := range v.items[:min(len(v.items), 100)] {
			n += count(i.value, depth-1)
		}
	}
	return n
}
