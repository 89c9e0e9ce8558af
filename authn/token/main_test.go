package token

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/gatecast/gatecast/authn/django/pgtest"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(servertest.Main(pgtest.Main(m))) }
