package loop

// Task is a piece of work that any goroutine may hand to a loop with [Loop.Post]. The loop passes it to [Handler.Task] and looks
// at no field but these: F, whose reference it releases afterwards, and Slot with Gen, to know whom to close if Task panics.
type Task struct {
	Kind uint32 // what to do; the handler's numbers
	Slot uint32 // socket it is about, 0 = none
	Gen  uint32 // generation of Slot; check with Loop.Live
	N    uint64
	P    any    // a pointer costs no allocation here, other values may
	F    *Frame // Post takes over one reference, released after Task returns; retain it to keep the frame longer
}
