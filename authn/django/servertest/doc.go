// Package servertest starts real Redis, memcached and MariaDB servers for a test, each on a free port of 127.0.0.1, from the binaries of the
// system's packages. pgtest does the same for PostgreSQL.
//
// The flow: [Redis], [Memcached] and [MariaDB] start a server of the test's own and stop it when the test ends; [MariaDBShared] starts one for all
// tests of a package, whose TestMain runs [Main]. A server dies with the process that started it;
// [Server.Kill] and [Server.Restart] take one away and bring it back. [NewCA] makes certificates for [RedisTLS] and [MariaDBTLS]. Without the package the test is skipped, or fails
// where skipping is forbidden.
package servertest
