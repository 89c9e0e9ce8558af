//go:build linux

package agent

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/crew"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/proc"
)

// protocol is the version of the messages below. Agents of another one are refused.
const protocol = 2

// Subjects of the host's NATS server. An agent has one of its own for orders, which it tells when it joins.
const (
	joinSubject  = "join"  // hello ─► answer
	clockSubject = "clock" // anything ─► the host's time, decimal
	newsSubject  = "news"  // news
)

// maxMessage is the largest message: the report of millions of publications.
const maxMessage = 64 << 20

// hello is what an agent says when it joins.
type hello struct {
	Protocol int    `json:"protocol"`
	Name     string `json:"name"`
	PID      int    `json:"pid"`
	Machine  string `json:"machine"` // equal = one clock
	Orders   string `json:"orders"`  // subject for orders; also the name of its connection
}

// The orders to an agent. Each is answered when it is done.
const (
	doOpen    = "open"    // Options
	doConnect = "connect" //
	doReceive = "receive" // From, Tell
	doStop    = "stop"    //
	doReport  = "report"  // Sent
	doClose   = "close"   //
	doEnd     = "end"     // not answered: the agent leaves
)

// order is a method of crew.Crew.
type order struct {
	Do      string        `json:"do"`
	Crew    int           `json:"crew"` // number of the run; news of an older one is dropped
	Options *crew.Options `json:"options,omitempty"`
	From    int64         `json:"from,omitempty"`
	Tell    bool          `json:"tell,omitempty"` // tell at once when publications have reached everybody there
	Sent    []uint32      `json:"sent,omitempty"`
}

// answer is what came of an order.
type answer struct {
	Error    string `json:"error,omitempty"`
	Machine  string `json:"machine,omitempty"`  // join: the host's
	Response []byte `json:"response,omitempty"` // connect: histograms of the logins
	Service  []byte `json:"service,omitempty"`
	Report   []byte `json:"report,omitempty"` // gob of a report
	News     *news  `json:"news,omitempty"`   // stop: the last
}

// news is how far an agent is.
type news struct {
	Agent     string           `json:"agent"` // its subject for orders
	Crew      int              `json:"crew"`
	Connected int              `json:"connected"`
	Delivered int64            `json:"delivered"`
	Last      int64            `json:"last"`
	Quiet     time.Duration    `json:"quiet"`
	Error     string           `json:"error,omitempty"`
	Usage     *proc.Usage      `json:"usage,omitempty"`     // of the agent; nil when it is news of completions only
	Completed map[uint32]int64 `json:"completed,omitempty"` // by group: so many more have reached everybody there
}

// report is a crew.Report on its way.
type report struct {
	Counts            ledger.Counts
	Response, Service []byte
	Near, Far         []byte // empty = one node
	Silence           int64
	Seconds           []second
	Arrived           [][]crew.Arrival
	Doubt             int64
	Unread            int64
	Away              time.Duration
}

type second struct {
	At       int64
	Response []byte
}

func pack(h *hdrhistogram.Histogram) ([]byte, error) {
	return h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// encodeReport returns a report's bytes.
func encodeReport(r crew.Report) ([]byte, error) {
	out := report{Counts: r.Counts, Silence: r.Silence, Arrived: r.Arrived, Doubt: r.Doubt, Unread: r.Unread, Away: r.Away}
	var err1, err2 error
	out.Response, err1 = pack(r.Response)
	out.Service, err2 = pack(r.Service)
	err := errors.Join(err1, err2)
	if r.Near != nil {
		out.Near, err1 = pack(r.Near)
		out.Far, err2 = pack(r.Far)
		err = errors.Join(err, err1, err2)
	}
	for _, s := range r.Seconds {
		b, packErr := pack(s.Response)
		out.Seconds, err = append(out.Seconds, second{s.At, b}), errors.Join(err, packErr)
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = gob.NewEncoder(&b).Encode(out)
	return b.Bytes(), err
}

func decodeReport(b []byte) (r crew.Report, err error) {
	var in report
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&in); err != nil {
		return r, fmt.Errorf("read a report: %w", err)
	}
	r = crew.Report{Counts: in.Counts, Silence: in.Silence, Arrived: in.Arrived, Doubt: in.Doubt, Unread: in.Unread, Away: in.Away}
	var err1, err2 error
	r.Response, err1 = hdrhistogram.Decode(in.Response)
	r.Service, err2 = hdrhistogram.Decode(in.Service)
	err = errors.Join(err1, err2)
	if len(in.Near) > 0 {
		r.Near, err1 = hdrhistogram.Decode(in.Near)
		r.Far, err2 = hdrhistogram.Decode(in.Far)
		err = errors.Join(err, err1, err2)
	}
	for _, s := range in.Seconds {
		h, unpackErr := hdrhistogram.Decode(s.Response)
		r.Seconds, err = append(r.Seconds, crew.Second{At: s.At, Response: h}), errors.Join(err, unpackErr)
	}
	return r, err
}

// encode is JSON of our own types, which cannot fail.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
