package wire

// Welcome is the first frame after login.
type Welcome struct {
	Conn    string
	User    string // "" for anonymous
	Groups  []string
	Ping    int // seconds between the server's pings; 0 = none
	Node    string
	Expires int64 // unix seconds; 0 = never, left out
}

// GroupReply is what became of one group of a group_add.
type GroupReply struct {
	Group        []byte
	HasPosition  bool // durable group: send Epoch and Seq
	Epoch        []byte
	Seq          uint64
	HasRecovered bool // the client gave since: send Recovered
	Recovered    bool
	Code         string // not "" = refused, Message says why
	Message      string
}

func AppendWelcome(dst []byte, w *Welcome) []byte { panic("stub") }

// AppendOK appends the reply to id; group nil leaves the field out.
func AppendOK(dst []byte, id int64, group []byte) []byte { panic("stub") }

// AppendOKGroup appends the reply to a group_add of one group with its position.
func AppendOKGroup(dst []byte, id int64, r *GroupReply) []byte { panic("stub") }

// AppendOKGroups appends the one reply to a group_add with "groups".
func AppendOKGroups(dst []byte, id int64, replies []GroupReply) []byte { panic("stub") }

func AppendError(dst []byte, hasID bool, id int64, code, message string) []byte { panic("stub") }

func AppendPing(dst []byte) []byte { panic("stub") }

// AppendClose appends the last frame before a close; retryMin and retryMax in milliseconds.
func AppendClose(dst []byte, code int, reason string, retryMin, retryMax int, hasRetry bool) []byte {
	panic("stub")
}

func AppendGroupAdded(dst, group []byte) []byte     { panic("stub") }
func AppendGroupDiscarded(dst, group []byte) []byte { panic("stub") }
func AppendReset(dst, group []byte) []byte          { panic("stub") }
func AppendJoin(dst, group, user []byte) []byte     { panic("stub") }
func AppendLeave(dst, group, user []byte) []byte    { panic("stub") }
