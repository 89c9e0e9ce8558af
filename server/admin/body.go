package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &Error{CodeTooLarge, fmt.Sprintf("the body is larger than admin.body_bytes = %d", tooLarge.Limit)}
	case err != nil:
		return nil, badRequest("the body ended early")
	}
	return body, nil
}

// object is a decoded request body: each value as its JSON text.
type object map[string]json.RawMessage

// decodeObject reads one JSON object with fields of the given names. Unlike encoding/json it minds the names' case and refuses
// unknown and repeated fields, each by name, so that a typing error never becomes a message without its data. Values keep their bytes.
func decodeObject(body []byte, fields ...string) (object, error) {
	if !utf8.Valid(body) {
		return nil, badRequest("the body is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, badRequest("the body is not a JSON object with %s", strings.Join(fields, ", "))
	}
	obj := make(object, len(fields))
	for dec.More() {
		t, err := dec.Token()
		name, isName := t.(string)
		if err != nil || !isName {
			return nil, syntaxError(err)
		}
		if !slices.Contains(fields, name) {
			return nil, badRequest("unknown field %q; there are %s", name, strings.Join(fields, ", "))
		}
		if _, twice := obj[name]; twice {
			return nil, badRequest("field %q is there twice", name)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, syntaxError(err)
		}
		obj[name] = value
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, syntaxError(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, badRequest("there is something behind the JSON object")
	}
	return obj, nil
}

func syntaxError(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return badRequest("the body is not JSON: it ends too early")
	}
	return badRequest("the body is not JSON: %v", err)
}

// text returns the string in field name, "" if it is not there or null.
func (o object) text(name string) (string, error) {
	raw, ok := o[name]
	if !ok || string(raw) == "null" {
		return "", nil
	}
	if raw[0] != '"' {
		return "", badRequest("field %q must be a string, not %s", name, kindOf(raw))
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", badRequest("field %q: %v", name, err)
	}
	return s, nil
}

// required is text for a field that must be there and not empty.
func (o object) required(name string) (string, error) {
	s, err := o.text(name)
	if err == nil && s == "" {
		err = badRequest("field %q is missing", name)
	}
	return s, err
}

// oneOf returns the only field of names that is there, and its text.
func (o object) oneOf(names ...string) (field, text string, err error) {
	for _, name := range names {
		s, err := o.text(name)
		if err != nil {
			return "", "", err
		}
		if s == "" {
			continue
		}
		if field != "" {
			return "", "", badRequest("give only one of %s", strings.Join(names, ", "))
		}
		field, text = name, s
	}
	if field == "" {
		return "", "", badRequest("give one of %s", strings.Join(names, ", "))
	}
	return field, text, nil
}

// texts returns the list of strings in field name; a single string counts as a list of one.
func (o object) texts(name string) ([]string, error) {
	raw, ok := o[name]
	if !ok || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] == '"' {
		s, err := o.text(name)
		return []string{s}, err
	}
	var list []string
	if raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		return nil, badRequest("field %q must be a list of strings", name)
	}
	return list, nil
}

func kindOf(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "true or false"
	}
	return "a number: quote it"
}
