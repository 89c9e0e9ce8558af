package authn

// Grants are what one Conn may hear and say: immutable, shared where they can be, 0 allocations to check. A nil *Grants allows nothing.
type Grants struct{}

// CanSubscribe reports whether name may be heard. name has passed subject.CheckName.
func (g *Grants) CanSubscribe(name []byte) bool { return false }

// CanPublish reports whether name may be sent to. name has passed subject.CheckName.
func (g *Grants) CanPublish(name []byte) bool { return false }

// Join returns the groups to join at connect, the own user group first.
func (g *Grants) Join() []string { return nil }

// Patterns returns all of it as name patterns, for the native NATS door.
func (g *Grants) Patterns() Patterns { return Patterns{} }
