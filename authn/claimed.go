package authn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/gatecast/gatecast/broker/subject"
)

// maxClaimed bounds the patterns that a credential may carry.
const maxClaimed = 256

// ParseClaimed reads grants that a credential itself carries: {"join": [], "subscribe": [], "publish": [], "deny": []}, all of them optional; null and none at
// all are nil. What is misspelt is an error, for it could be a deny. The error quotes no more of it than a pattern.
func ParseClaimed(text []byte) (*Patterns, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var lists *struct {
		Join      []string `json:"join"`
		Subscribe []string `json:"subscribe"`
		Publish   []string `json:"publish"`
		Deny      []string `json:"deny"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&lists); err != nil {
		return nil, errors.New(`want an object of lists: {"subscribe": [], "publish": [], "join": [], "deny": []}`)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the object")
	}
	if lists == nil {
		return nil, nil
	}
	p := &Patterns{Join: lists.Join, Subscribe: lists.Subscribe, Publish: lists.Publish, Deny: lists.Deny}
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

// check reports the first pattern that is none.
func (p *Patterns) check() error {
	if n := p.len(); n > maxClaimed {
		return fmt.Errorf("%d patterns are more than %d", n, maxClaimed)
	}
	for _, name := range p.Join {
		if err := subject.CheckName(name); err != nil {
			return fmt.Errorf("join %.64q: %w", name, err)
		}
	}
	for _, one := range []struct {
		list     string
		patterns []string
	}{{"subscribe", p.Subscribe}, {"publish", p.Publish}, {"deny", p.Deny}} {
		for _, pattern := range one.patterns {
			if err := subject.CheckPattern(pattern); err != nil {
				return fmt.Errorf("%s %.64q: %w", one.list, pattern, err)
			}
		}
	}
	return nil
}
