#!/usr/bin/env bash
# Starts three nodes on this machine that form a cluster, and ends them with Ctrl-C. `make cluster` calls it.
set -euo pipefail
bin=${1:?usage: cluster.sh path/to/gatecast [offset of all ports]}
offset=${2:-0}
token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
pids=()

leave() {
  trap - INT TERM EXIT
  kill -TERM "${pids[@]}" 2>/dev/null || true
  wait
}
trap leave INT TERM EXIT

routes=
for n in 1 2 3; do
  routes+=${routes:+,}nats://127.0.0.1:$((6212 + 10 * n + offset))
done
for n in 1 2 3; do
  base=$((8070 + 10 * n + offset))
  "$bin" serve -dev -config config.toml \
    -set server.listen=127.0.0.1:$base -set admin.listen=127.0.0.1:$((base + 1)) \
    -set broker.name=n$n -set broker.listen=127.0.0.1:$((4212 + 10 * n + offset)) \
    -set broker.cluster.listen=127.0.0.1:$((6212 + 10 * n + offset)) \
    -set broker.cluster.routes="$routes" \
    -set broker.cluster.token="$token" -set drain.window=1s \
    > >(sed -u "s/^/n$n  /") 2>&1 &
  pids+=($!)
done

page() { printf 'http://127.0.0.1:%d/' $((8070 + 10 * $1 + offset)); }
echo "three nodes: $(page 1) $(page 2) $(page 3) (admin pages: port +1); Ctrl-C ends them"
wait -n
echo "a node has ended; the others follow"
