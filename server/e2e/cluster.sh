#!/usr/bin/env bash
# Starts three nodes on this machine that form a cluster, and ends them with Ctrl-C. `make cluster` calls it.
set -euo pipefail
bin=${1:?usage: cluster.sh path/to/gatecast}
token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
pids=()

leave() {
  trap - EXIT
  kill -TERM "${pids[@]}" 2>/dev/null || true
  wait
}
trap leave EXIT
trap 'exit 0' INT TERM

for n in 1 2 3; do
  base=$((8070 + 10 * n))
  "$bin" serve -dev -config config.toml \
    -set server.listen=127.0.0.1:$base -set admin.listen=127.0.0.1:$((base + 1)) \
    -set broker.name=n$n -set broker.listen=127.0.0.1:$((4212 + 10 * n)) \
    -set broker.cluster.listen=127.0.0.1:$((6212 + 10 * n)) \
    -set broker.cluster.routes=nats://127.0.0.1:6222,nats://127.0.0.1:6232,nats://127.0.0.1:6242 \
    -set broker.cluster.token="$token" -set drain.window=1s \
    > >(sed -u "s/^/n$n  /") 2>&1 &
  pids+=($!)
done

echo "three nodes: http://127.0.0.1:8080/ http://127.0.0.1:8090/ http://127.0.0.1:8100/ (admin pages: +1); Ctrl-C ends them"
wait -n
echo "a node has ended; the others follow"
