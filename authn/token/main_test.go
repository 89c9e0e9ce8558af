package token

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/gatecast/gatecast/authn/django/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }
