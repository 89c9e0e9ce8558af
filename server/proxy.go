package server

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/server/proxyproto"
)

// What a trusted proxy says of its client: a PROXY header before the first byte of HTTP, or X-Forwarded-For in the request.

// headed tells whether connections from peer begin with a PROXY header.
func (n *Node) headed(peer netip.Addr) bool { return n.opts.ProxyProtocol && n.proxies.trust(peer) }

// readProxyHeader takes the client's address from what a trusted proxy says first, in b as far as it has arrived.
func (o *owner) readProxyHeader(slot uint32, c *conn, b []byte) {
	h, n, err := proxyproto.Parse(b)
	if err != nil {
		o.cutProxy(slot, err)
		return
	}
	if n == 0 {
		return
	}
	delete(o.intake, slot)
	c.flags |= flagHeaded
	if h.Source.IsValid() {
		c.addr, c.port = h.Source.Addr().As16(), h.Source.Port()
	}
	if !o.node.proxies.trust(c.address()) && !o.countAddress(slot, c) {
		return
	}
	if b = b[n:]; len(b) > 0 {
		o.readHeader(slot, c, b)
	}
}

// cutProxy closes the connection of a trusted proxy that is not a good PROXY header's. There may be no HTTP behind it, so it gets no answer.
func (o *owner) cutProxy(slot uint32, err error) {
	o.node.counters.handshake("refused", "proxy_header")
	o.logConn(slot, "handshake refused", "reason", "proxy_header", "detail", err.Error())
	o.ended(slot, ending{})
	o.loop.Close(slot, false)
}

var errProxyTimeout = errors.New("the PROXY header did not arrive within handshake_timeout")

// proxies are the networks whose forwarded headers are believed.
type proxies []netip.Prefix

func parseProxies(list []string) (proxies, error) {
	var out proxies
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p.Masked())
			continue
		}
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, errors.New(`"` + s + `" is neither an address nor a network, such as "10.0.0.0/8"`)
		}
		out = append(out, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
	}
	return out, nil
}

func (p proxies) trust(a netip.Addr) bool {
	return slices.ContainsFunc(p, func(net netip.Prefix) bool { return net.Contains(a) })
}

// client returns the rightmost forwarded address that is no trusted proxy: everything left of it is hearsay.
func (p proxies) client(peer netip.Addr, forwarded string) netip.Addr {
	for forwarded != "" {
		i := strings.LastIndexByte(forwarded, ',')
		a, ok := forwardedAddress(strings.TrimSpace(forwarded[i+1:]))
		if !ok {
			return peer
		}
		if peer = a.Unmap(); !p.trust(peer) {
			return peer
		}
		forwarded = forwarded[:max(i, 0)]
	}
	return peer
}

// forwardedAddress reads an entry of X-Forwarded-For. Some proxies (IIS, Azure's gateways, AWS's if told so) write the port too, and brackets around IPv6.
func forwardedAddress(entry string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(entry); err == nil {
		return a, true
	}
	if at, err := netip.ParseAddrPort(entry); err == nil {
		return at.Addr(), true
	}
	inner, open := strings.CutPrefix(entry, "[")
	inner, shut := strings.CutSuffix(inner, "]")
	a, err := netip.ParseAddr(inner)
	return a, open && shut && err == nil && a.Is6()
}
