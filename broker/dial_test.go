package broker

import "testing"

func TestServerNameOfToldAddresses(t *testing.T) {
	for _, c := range []struct{ url, host, want string }{
		{"tls://10.0.0.1:4222,tls://nats.example:4222", "10.0.0.2:4222", "nats.example"},
		{"tls://10.0.0.1:4222,tls://nats.example:4222", "10.0.0.1:4222", "10.0.0.1"},
		{"tls://nats.example", "other.example:4222", "other.example"},
		{"tls://nats.example", "nats.example:4222", "nats.example"},
		{"tls://10.0.0.1", "[fd00::2]:4222", "fd00::2"},
	} {
		o := DefaultOptions()
		o.URL = c.url
		p, err := newPool(&o)
		if err != nil {
			t.Fatal(err)
		}
		p.learn([]string{"10.0.0.2:4222", "other.example:4222", "[fd00::2]:4222"})
		if got := p.serverName(c.host); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.host, c.url, got, c.want)
		}
	}
}
