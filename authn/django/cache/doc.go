// Package cache reads what Django's cache framework keeps: sessions of the engines cache and cached_db. It never writes.
//
// The flow: [Open] takes an address and makes a [Cache] of it; Get asks for some keys, whole as Django makes them (KEY_PREFIX:VERSION:key), and
// gives an [Entry] for each that is there: the bytes that the cache's serializer wrote, a pickle or JSON, and when they end.
//
//	redis.go      redis:// rediss:// unix://    Django's RedisCache and django-redis, with its zlib and gzip compressors
//	memcached.go  memcached://                  pymemcache, pylibmc, python-memcached; hash.go picks the server as they do
//	file.go       file://                       FileBasedCache
//
// Django's DatabaseCache is a table of the site's database and is read where that is read, by package django.
//
// Both network clients are a few commands of a text protocol over pool.go: bounded connections, one deadline a call, one more try when a
// connection that lay idle turns out to be dead. [ExplainCertificate] says what to do about a server's certificate, also one of a database.
package cache
