package authn

import "errors"

// OriginPolicy decides from which pages a browser may connect with an ambient credential.
type OriginPolicy struct{}

// NewOriginPolicy compiles server.origins.
func NewOriginPolicy(origins []string) (*OriginPolicy, error) { return nil, errors.New("stub") }

// Check allows or refuses (*OriginError) r. ambient says that the credential is one a browser adds by itself (cookie); others are never refused.
func (p *OriginPolicy) Check(r *Request, ambient bool) error { return nil }

// Warnings names entries of the list that can never match, with what was probably meant.
func (p *OriginPolicy) Warnings() []string { return nil }

// OriginError says why an origin was refused.
type OriginError struct {
	Reason string // stable snake_case
	Origin string
	Host   string
}

func (e *OriginError) Error() string { return e.Reason }
