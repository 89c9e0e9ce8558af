// Package pickle reads Python's pickles as data: sessions and cache entries that Django wrote. It calls nothing that a pickle names, so a pickle
// from a hostile hand can at worst be refused.
//
// The flow: [Decode] runs the opcodes of one pickle, protocols 0 to 5, on a stack of plain values (machine.go, text.go for the opcodes of protocol
// 0) and returns what stands there at STOP. What would need Python, such as a datetime or a model instance, becomes an [Opaque] with the name of
// its class. Opcodes that reach outside the pickle (persistent ids, the extension registry, out-of-band buffers) are refused.
//
// Every pickle is bounded: in bytes, in opcodes, in open marks and in the memo. Nothing is copied, so a pickle that refers to itself a
// thousand times costs no more than its opcodes.
//
// The format is that of Lib/pickletools.py in CPython 3.14.
package pickle
