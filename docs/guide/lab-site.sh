#!/bin/sh
# A site of lab.toml: a content server (its files are this folder's) and its part in the race.
# site NAME ADDRESS CLOCK
set -e
# (`python3 -m http.server` would first ask a resolver for its own name, and there is none here.)
python3 -c 'import functools, http.server, socketserver, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="docs/guide")
socketserver.ThreadingTCPServer((sys.argv[1], 9000), handler).serve_forever()' "$2" >/dev/null 2>&1 &
server=$!
trap 'kill $server' EXIT INT TERM
target/debug/selvedge race-replica --name "$1" --listen "$2:7701" --service 10.7.0.1:7700 \
    --url "http://$2:9000" --keys target/lab-data/keys --test-clock "$3"
