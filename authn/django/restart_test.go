package django

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

// Servers that go away under way and come back: meanwhile a login cannot be told, which is no refusal, and then it can, by the same verifier.

// lostAndFound keeps several callers asking while the server is killed, and wants their logins accepted again after it is back. again puts back what the
// server forgot.
func lostAndFound(t *testing.T, v *Verifier, server *servertest.Server, again func()) {
	t.Helper()
	mustVerify(t, v, aliceKey)
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, err := v.Verify(t.Context(), cookie(aliceKey))
				var refused *authn.Refused
				if errors.As(err, &refused) && refused.Reason != reasonUnknownSession {
					t.Errorf("Verify = %v, want no refusal", err)
				}
			}
		})
	}
	server.Kill()
	until(t, "Verify and Ping tell that the server is gone", func() bool {
		_, err := v.Verify(t.Context(), cookie(aliceKey))
		var refused *authn.Refused
		return err != nil && !errors.As(err, &refused) && v.Ping(t.Context()) != nil
	})
	server.Restart(t)
	again()
	until(t, "the login is accepted again", func() bool {
		id, err := v.Verify(t.Context(), cookie(aliceKey))
		return err == nil && id.ID == "42"
	})
	if err := v.Ping(t.Context()); err != nil {
		t.Errorf("Ping after the restart = %v", err)
	}
	close(stop)
	callers.Wait()
}

// until waits for cond.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("it does not come true that %s", what)
		}
		<-tick.C
	}
}

func TestCachesThatRestart(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (*servertest.Server, keeper){
		"redis": func(t *testing.T) (*servertest.Server, keeper) {
			s := servertest.StartRedis(t)
			return s, redisAt(t, s.Addr)
		},
		"memcached": func(t *testing.T) (*servertest.Server, keeper) {
			s := servertest.StartMemcached(t)
			return s, memcachedAt(t, s.Addr)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSQLiteSite(t, plainSite, "wal")
			s.addUser(account{id: "42"})
			server, k := start(t)
			v := s.open(func(o *Options) { o.Engine, o.Cache = EngineCache, k.address })
			o := s.options()
			o.Engine = EngineCache
			put := func() { k.put((&cached{format: o.cacheKey()}).key(aliceKey), s.payload("42"), time.Minute) }
			put()
			lostAndFound(t, v, server, put)
		})
	}
}

func TestMariaDBThatRestarts(t *testing.T) {
	server := servertest.MariaDB(t)
	s := newMariaSite(t, server, plainSite)
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	s.exec(`SET GLOBAL innodb_flush_log_at_trx_commit = 1`) // what was written before is there afterwards
	s.exec(`UPDATE auth_user SET is_staff = true`)
	v := s.open(func(o *Options) { o.DatabaseConns = 2 })
	lostAndFound(t, v, server.Server, func() {})
}
